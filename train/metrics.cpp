#include "train/metrics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <vector>

#include "tensor/error.h"

namespace om {
namespace {

constexpr double c1 = 0.01 * 0.01, c2 = 0.03 * 0.03, sigma = 1.5;

void expect_same_size(const FloatImage& a, const FloatImage& b) {
  if (a.height != b.height || a.width != b.width || a.pixels.size() != b.pixels.size() ||
      a.pixels.size() != static_cast<std::size_t>(a.height * a.width * 3))
    fail("metrics: images of ", a.height, "x", a.width, " and ", b.height, "x", b.width);
}

std::optional<double> if_finite(double value) {
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

template <std::size_t Window>
std::array<double, Window> gaussian() {
  std::array<double, Window> weights;
  double total = 0;
  for (std::size_t i = 0; i < Window; ++i) {
    const double x = static_cast<double>(i) - Window / 2;
    total += weights[i] = std::exp(-x * x / (2 * sigma * sigma));
  }
  for (double& weight : weights) weight /= total;
  return weights;
}

/// i mirrored into [0, n) without repeating the border.
std::int64_t mirrored(std::int64_t i, std::int64_t n) {
  i = std::abs(i);
  return i < n ? i : 2 * (n - 1) - i;
}

constexpr std::size_t kBlock = 16;  // numbers weighed together: a loop of fixed length stays in registers
using Block = std::array<double, kBlock>;

std::size_t in_blocks(std::size_t count) { return (count + kBlock - 1) / kBlock * kBlock; }

/// Four numbers as gcc and clang put them into one register or two.
typedef double Quad __attribute__((vector_size(32), aligned(8), may_alias));

/// y[c] = sum over k of weights[k] line(k)[c].
template <std::size_t Window, class Line>
void weigh(const std::array<double, Window>& weights, const Line& line, double* y) {
  Quad first{}, second{}, third{}, fourth{};
  for (std::size_t k = 0; k < Window; ++k) {
    const Quad* const x = reinterpret_cast<const Quad*>(line(k));
    first += weights[k] * x[0];
    second += weights[k] * x[1];
    third += weights[k] * x[2];
    fourth += weights[k] * x[3];
  }
  Quad* const out = reinterpret_cast<Quad*>(y);
  out[0] = first;
  out[1] = second;
  out[2] = third;
  out[3] = fourth;
}

/// What SSIM takes windowed means of: a, b, (a + b)^2 and (a - b)^2, whose sum and difference give the
/// variances' sum and the covariance. Lines of them, channels interleaved, whole blocks long.
using Lines = std::array<std::vector<double>, 4>;

/// The window's weights are a product, so a line is weighed along itself once, and Window such lines of one
/// another down the columns. Only those are kept.
template <std::size_t Window, bool authors>
class WindowedMeans {
 public:
  static constexpr auto window = static_cast<std::int64_t>(Window);
  /// The authors mirror the borders and keep the size; else the result shrinks by Window - 1.
  static constexpr std::int64_t shift = authors ? window / 2 : 0, shrink = authors ? 0 : window - 1;

  WindowedMeans(const FloatImage& a, const FloatImage& b)
      : a_(a), b_(b), count_(static_cast<std::size_t>(3 * (a.width - shrink))) {
    const auto mirrored_too = static_cast<std::size_t>(3 * (a.width + 2 * shift));
    for (auto& line : line_) line.resize(mirrored_too + in_blocks(count_) - count_);
    for (Lines& lines : kept_)
      for (auto& line : lines) line.resize(in_blocks(count_));
  }

  /// Numbers in a line of results, without what fills its last block.
  std::size_t count() const { return count_; }

  /// Gives `body` the four means of line y, block by block, and where the block begins. Lines in order.
  template <class Body>
  void line(std::int64_t y, const Body& body) {
    for (; read_ < std::min(a_.height, y - shift + window); ++read_) read(read_);
    std::array<const Lines*, Window> lines;
    for (std::size_t k = 0; k < Window; ++k)
      lines[k] = &kept(mirrored(y - shift + static_cast<std::int64_t>(k), a_.height));
    for (std::size_t c = 0; c < count_; c += kBlock) {
      std::array<Block, 4> means;
      for (std::size_t q = 0; q < means.size(); ++q)
        weigh(
            weights_, [&](std::size_t k) { return (*lines[k])[q].data() + c; }, means[q].data());
      body(means, c);
    }
  }

 private:
  Lines& kept(std::int64_t y) { return kept_[static_cast<std::size_t>(y % window)]; }

  void read(std::int64_t y) {
    const auto values = static_cast<std::size_t>(3 * a_.width);
    const float *a = a_.pixels.data() + static_cast<std::size_t>(y) * values,
                *b = b_.pixels.data() + static_cast<std::size_t>(y) * values;
    constexpr auto before = static_cast<std::size_t>(3 * shift);
    for (std::size_t i = 0; i < values; ++i) {
      const double va = a[i], vb = b[i];
      line_[0][before + i] = va;
      line_[1][before + i] = vb;
      line_[2][before + i] = (va + vb) * (va + vb);
      line_[3][before + i] = (va - vb) * (va - vb);
    }
    Lines& out = kept(y);
    for (std::size_t q = 0; q < line_.size(); ++q) {
      double* const first = line_[q].data() + before;
      double* const last = first + values - 3;
      for (std::int64_t i = 1; i <= shift; ++i)
        for (std::int64_t channel = 0; channel < 3; ++channel) {
          first[channel - 3 * i] = first[channel + 3 * i];
          last[channel + 3 * i] = last[channel - 3 * i];
        }
      for (std::size_t c = 0; c < count_; c += kBlock)
        weigh(
            weights_, [&](std::size_t k) { return line_[q].data() + c + 3 * k; }, out[q].data() + c);
    }
  }

  const FloatImage &a_, &b_;
  const std::array<double, Window> weights_ = gaussian<Window>();
  std::size_t count_;
  Lines line_;                      // of the images, with what is mirrored
  std::array<Lines, Window> kept_;  // weighed along the line
  std::int64_t read_ = 0;           // lines read so far
};

template <std::size_t Window, bool authors>
std::optional<double> mean_ssim(const FloatImage& a, const FloatImage& b) {
  using Means = WindowedMeans<Window, authors>;
  expect_same_size(a, b);
  if (std::min(a.height, a.width) < Means::window) return std::nullopt;
  Means means(a, b);
  const std::int64_t height = a.height - Means::shrink;
  Block totals{};
  for (std::int64_t y = 0; y < height; ++y)
    means.line(y, [&](const std::array<Block, 4>& m, std::size_t begin) {
      Block map;
      for (std::size_t c = 0; c < kBlock; ++c) {
        const double ma = m[0][c], mb = m[1][c];
        const double variances = (m[2][c] + m[3][c]) / 2 - ma * ma - mb * mb;
        const double covariance = (m[2][c] - m[3][c]) / 4 - ma * mb;
        const double s =
            (2 * ma * mb + c1) * (2 * covariance + c2) / ((ma * ma + mb * mb + c1) * (variances + c2));
        map[c] = !authors ? s : s < 0 ? 0 : s > 1 ? 1 : s;  // NaN stays NaN
      }
      const std::size_t inside = std::min(kBlock, means.count() - begin);
      for (std::size_t c = 0; c < inside; ++c) totals[c] += map[c];
    });
  const double total = std::accumulate(totals.begin(), totals.end(), 0.0);
  return if_finite(total / static_cast<double>(height) / static_cast<double>(means.count()));
}

}  // namespace

std::optional<double> psnr(const FloatImage& a, const FloatImage& b) {
  expect_same_size(a, b);
  double total = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i) {
    const double difference = static_cast<double>(a.pixels[i]) - b.pixels[i];
    total += difference * difference;
  }
  return if_finite(10 * std::log10(static_cast<double>(a.pixels.size()) / total));
}

std::optional<double> ssim(const FloatImage& a, const FloatImage& b) { return mean_ssim<5, true>(a, b); }

std::optional<double> ssim_wang(const FloatImage& a, const FloatImage& b) {
  return mean_ssim<11, false>(a, b);
}

}  // namespace om
