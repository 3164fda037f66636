// Separable resampling with a triangle filter, in fixed point.
//
// Along an axis of n input and m output pixels let s = n / m. Output i sits at c = (i + 1/2) s in input
// pixels and is the weighted mean of the inputs j whose centres lie within r = max(s, 1) of it, with weights
// 1 - |j + 1/2 - c| / r: linear interpolation upwards, a tent as wide as the shrinking downwards (hence no
// aliasing). Weights are normalised in double and rounded to 22 fractional bits (32 less 8 for the pixel,
// less 2 for sums that overshoot); each pass rounds to 8 bits; an axis that keeps its size is not filtered.
//
// Neither order stores an intermediate image, which for a hostile 100 x 1,000,000 file would be large. Rows
// first: a row is resized when a column window reaches it and kept in a ring as high as the widest window.
// Columns first: each output row's weighted sum of input rows is resized at once.
#include "io/resize.h"

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace om {
namespace {

constexpr int kFractionBits = 22;
constexpr int32_t kHalf = 1 << (kFractionBits - 1);

/// For each output: the first input it reads, and the weights of that one and those that follow.
struct Window {
  int first;
  int count;
  const int32_t* weights;
};

class Filter {
 public:
  Filter(int inputs, int outputs) : offsets_(static_cast<size_t>(outputs) + 1), firsts_(outputs) {
    const double step = static_cast<double>(inputs) / outputs;
    const double reach = std::max(step, 1.0);
    const double per_reach = 1.0 / reach;
    std::vector<double> tent;
    for (int i = 0; i < outputs; ++i) {
      const double center = (i + 0.5) * step;
      const int first = std::max(0, static_cast<int>(center - reach + 0.5));
      const int end = std::min(inputs, static_cast<int>(center + reach + 0.5));
      double sum = 0.0;
      tent.clear();
      for (int j = first; j < end; ++j) {
        const double distance = std::abs((j - center + 0.5) * per_reach);
        tent.push_back(std::max(0.0, 1.0 - distance));
        sum += tent.back();
      }
      const double norm = sum == 0.0 ? 1.0 : 1.0 / sum;
      for (const double weight : tent) {
        weights_.push_back(static_cast<int32_t>(weight * norm * (1 << kFractionBits) + 0.5));
      }
      firsts_[i] = first;
      offsets_[i + 1] = weights_.size();
      widest_ = std::max(widest_, end - first);
    }
  }

  Window window(int output) const {
    const size_t from = offsets_[output];
    return {firsts_[output], static_cast<int>(offsets_[output + 1] - from), weights_.data() + from};
  }
  int widest() const { return widest_; }

 private:
  std::vector<size_t> offsets_;
  std::vector<int> firsts_;
  std::vector<int32_t> weights_;
  int widest_ = 0;
};

uint8_t rounded(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kFractionBits, 0, 255)); }

void resize_row(const uint8_t* in, const Filter& filter, int outputs, uint8_t* out) {
  for (int i = 0; i < outputs; ++i, out += 3) {
    const Window window = filter.window(i);
    const uint8_t* pixel = in + static_cast<size_t>(window.first) * 3;
    int32_t red = kHalf;
    int32_t green = kHalf;
    int32_t blue = kHalf;
    for (int k = 0; k < window.count; ++k, pixel += 3) {
      red += pixel[0] * window.weights[k];
      green += pixel[1] * window.weights[k];
      blue += pixel[2] * window.weights[k];
    }
    out[0] = rounded(red);
    out[1] = rounded(green);
    out[2] = rounded(blue);
  }
}

/// The weighted sum of a window's rows, where row(j) is input row j of sums.size() bytes.
template <class Row>
void blend_rows(const Window& window, const Row& row, std::vector<int32_t>& sums, uint8_t* out) {
  std::fill(sums.begin(), sums.end(), kHalf);
  for (int k = 0; k < window.count; ++k) {
    const uint8_t* in = row(window.first + k);
    const int32_t weight = window.weights[k];
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += in[i] * weight;
  }
  std::transform(sums.begin(), sums.end(), out, rounded);
}

void resize_rows_first(const Image& image, const Filter& across, const Filter& down, Image& result) {
  const size_t row_bytes = result.row_bytes();
  const int ring_rows = down.widest();
  std::vector<uint8_t> ring(row_bytes * ring_rows);
  std::vector<int32_t> sums(row_bytes);
  const auto ring_row = [&](int y) { return ring.data() + row_bytes * (y % ring_rows); };
  int next = 0;
  for (int y = 0; y < result.height; ++y) {
    const Window window = down.window(y);
    for (; next < window.first + window.count; ++next) {
      resize_row(image.row(next), across, result.width, ring_row(next));
    }
    blend_rows(window, ring_row, sums, result.row(y));
  }
}

void resize_columns_first(const Image& image, const Filter& across, const Filter& down, Image& result) {
  std::vector<int32_t> sums(image.row_bytes());
  std::vector<uint8_t> blended(image.row_bytes());
  for (int y = 0; y < result.height; ++y) {
    blend_rows(
        down.window(y), [&](int from) { return image.row(from); }, sums, blended.data());
    resize_row(blended.data(), across, result.width, result.row(y));
  }
}

}  // namespace

Image resize_bilinear(const Image& image, int height, int width, PassOrder order) {
  if (image.height < 1 || image.width < 1 || height < 1 || width < 1) {
    fail("resize_bilinear: sizes must be positive, got ", image.height, "x", image.width, " to ", height, "x",
         width);
  }
  if (height == image.height && width == image.width) return image;
  Image result(height, width);
  const Filter across(image.width, width);
  const Filter down(image.height, height);
  if (height == image.height) {
    for (int y = 0; y < height; ++y) resize_row(image.row(y), across, width, result.row(y));
  } else if (width == image.width) {
    std::vector<int32_t> sums(image.row_bytes());
    const auto input_row = [&](int y) { return image.row(y); };
    for (int y = 0; y < height; ++y) blend_rows(down.window(y), input_row, sums, result.row(y));
  } else if (order == PassOrder::pillow13 && height < image.height &&
             image.height - height > 2 * (image.width - width)) {
    resize_columns_first(image, across, down, result);
  } else {
    resize_rows_first(image, across, down, result);
  }
  return result;
}

}  // namespace om
