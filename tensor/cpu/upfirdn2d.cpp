// upfirdn2d, one output row at a time and polyphase: zeros that upsampling inserts are never multiplied.
//
// Along one axis, output q reads taps s = s0, s0 + up, ... at the input places w0, w0 + 1, ..., where s0 is
// the first tap that falls on a number. So both axes are the same short sum, y[i] = sum over k of c[k] x[i +
// k stride]: down a column the stride is a row of the image, along a row it is one pixel, and i runs over
// pixels and channels alike. A filter that is an outer product u v (the usual [1, 3, 3, 1] is) takes the
// column sums of a row once and then sums along the row; any other filter takes a sum along the row for each
// of its rows.
#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "tensor/cpu/convert.h"
#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/loops.h"
#include "tensor/cpu/parallel.h"
#include "tensor/scratch.h"

namespace om {
namespace {

using namespace cpu;

constexpr std::int64_t kFewChannels = 16;  // below, a pixel's channels do not fill a vector or two
constexpr std::int64_t kPhasePixels = 64;

/// Which taps and input places one output reads along an axis.
struct Window {
  std::int64_t phase;  // first tap
  std::int64_t first;  // its input place; may lie outside the image
  std::int64_t taps;
};

struct Axis {
  std::int64_t up, down, pad, taps;

  Window window(std::int64_t output) const {
    const std::int64_t base = output * down - pad;
    const std::int64_t phase = ((-base) % up + up) % up;
    return {phase, (base + phase) / up, phase < taps ? (taps - 1 - phase) / up + 1 : 0};
  }
};

/// One axis of filter taps, regrouped by phase: taps phase, phase + up, ... lie one after the other.
template <class C>
class Phases {
 public:
  Phases(const std::vector<double>& taps, std::int64_t up)
      : longest_((static_cast<std::int64_t>(taps.size()) + up - 1) / up),
        values_(static_cast<std::size_t>(longest_ * up)) {
    for (std::size_t s = 0; s < taps.size(); ++s) {
      const auto tap = static_cast<std::int64_t>(s);
      values_[static_cast<std::size_t>(tap % up * longest_ + tap / up)] = static_cast<C>(taps[s]);
    }
  }
  const C* of(std::int64_t phase) const { return values_.data() + phase * longest_; }

 private:
  std::int64_t longest_;
  std::vector<C> values_;
};

template <int Taps, bool Add, class C, class X>
void sum_taps(C* __restrict y, const X* x, std::int64_t count, std::int64_t stride, const C* taps) {
  C c[Taps];
  std::copy_n(taps, Taps, c);
  for (std::int64_t i = 0; i < count; ++i) {
    C sum = Add ? y[i] : C(0);
    for (int k = 0; k < Taps; ++k) sum += c[k] * load(x[i + k * stride]);
    y[i] = sum;
  }
}

/// y[i] (+)= sum over k of taps[k] x[i + k stride]
template <bool Add, class C, class X>
void sum_along(C* y, const X* x, std::int64_t count, std::int64_t stride, const C* taps,
               std::int64_t tap_count) {
  switch (tap_count) {
    case 0:
      if constexpr (!Add) std::fill_n(y, count, C(0));
      return;
    case 1: return sum_taps<1, Add>(y, x, count, stride, taps);
    case 2: return sum_taps<2, Add>(y, x, count, stride, taps);
    case 3: return sum_taps<3, Add>(y, x, count, stride, taps);
    case 4: return sum_taps<4, Add>(y, x, count, stride, taps);
    default:
      sum_taps<4, Add>(y, x, count, stride, taps);
      return sum_along<true>(y, x + 4 * stride, count, stride, taps + 4, tap_count - 4);
  }
}

/// y[i step + c] (+)= pixels[i, c]
template <bool Add, class C>
void deal(const C* pixels, std::int64_t count, std::int64_t channels, C* y, std::int64_t step) {
  const auto deal_all = [&](auto width) {
    for (std::int64_t i = 0; i < count; ++i, y += step, pixels += width)
      for (std::int64_t c = 0; c < width; ++c) y[c] = Add ? y[c] + pixels[c] : pixels[c];
  };
  if (channels == 3) return deal_all(std::integral_constant<std::int64_t, 3>());
  deal_all(channels);
}

/// u and v with f = u v to within `tolerance` of the largest tap; false where there are none.
bool factor(const std::vector<double>& f, std::size_t rows, std::size_t columns, double tolerance,
            std::vector<double>& u, std::vector<double>& v) {
  std::size_t pivot = 0;
  for (std::size_t i = 0; i < f.size(); ++i)
    if (std::abs(f[i]) > std::abs(f[pivot])) pivot = i;
  if (f.empty() || !(std::abs(f[pivot]) > 0)) return false;
  for (std::size_t r = 0; r < rows; ++r) u.push_back(f[r * columns + pivot % columns] / f[pivot]);
  for (std::size_t s = 0; s < columns; ++s) v.push_back(f[pivot / columns * columns + s]);
  for (std::size_t i = 0; i < f.size(); ++i)
    if (!(std::abs(f[i] - u[i / columns] * v[i % columns]) <= tolerance * std::abs(f[pivot]))) return false;
  return true;
}

template <class T>
class UpFirDn {
  using C = Computed<T>;

 public:
  UpFirDn(In x, In filter, Out y, const UpFirDnParams& params, CachingAllocator& memory)
      : x_(x),
        y_(y),
        memory_(memory),
        vertical_{params.up_h, params.down_h, params.pad_top, filter.shape[0]},
        horizontal_{params.up_w, params.down_w, params.pad_left, filter.shape[1]} {
    std::vector<double> taps(static_cast<std::size_t>(filter.shape.elements()));
    for (std::size_t i = 0; i < taps.size(); ++i)
      taps[params.flip ? i : taps.size() - 1 - i] =
          filter.dtype == DType::f64 ? filter.as<double>()[i] : static_cast<double>(filter.as<float>()[i]);
    const auto rows = static_cast<std::size_t>(vertical_.taps),
               columns = static_cast<std::size_t>(horizontal_.taps);
    std::vector<double> u, v;
    separable_ = factor(taps, rows, columns, sizeof(C) == 8 ? 1e-15 : 1e-7, u, v);
    if (separable_) {
      column_taps_.emplace_back(u, vertical_.up);
      row_taps_.emplace_back(v, horizontal_.up);
    } else {
      for (std::size_t r = 0; r < rows; ++r)
        row_taps_.emplace_back(
            std::vector<double>(taps.begin() + static_cast<std::ptrdiff_t>(r * columns),
                                taps.begin() + static_cast<std::ptrdiff_t>((r + 1) * columns)),
            horizontal_.up);
    }
  }

  void run() const {
    const std::int64_t height = y_.shape[1], width = y_.shape[2], channels = y_.shape[3];
    // Four lines of a tile's input, the usual taps, stay in the first-level cache.
    const std::int64_t tile_columns =
        std::max<std::int64_t>(16, kTile / 8 / std::max<std::int64_t>(1, channels));
    const std::int64_t tile_rows = std::max<std::int64_t>(
        1, 8 * kTile / std::max<std::int64_t>(1, std::min(tile_columns, width) * channels));
    const std::int64_t down = (height + tile_rows - 1) / tile_rows;
    const std::int64_t across = (width + tile_columns - 1) / tile_columns;
    parallel_for(y_.shape[0] * down * across, [&](std::int64_t i) {
      const std::int64_t p = i / across % down * tile_rows, q = i % across * tile_columns;
      run_tile(i / (down * across), p, std::min(height, p + tile_rows), q, std::min(width, q + tile_columns));
    });
  }

 private:
  void run_tile(std::int64_t n, std::int64_t p0, std::int64_t p1, std::int64_t q0, std::int64_t q1) const {
    const std::int64_t width = x_.shape[2], channels = x_.shape[3];
    // The input columns that this tile's windows touch, [left, right), and those of them that exist.
    const std::int64_t left = horizontal_.window(q0).first;
    std::int64_t right = left;
    for (std::int64_t q = std::max(q0, q1 - horizontal_.up); q < q1; ++q) {
      const Window window = horizontal_.window(q);
      right = std::max(right, window.first + window.taps);
    }
    const std::int64_t inside = std::clamp(left, std::int64_t{0}, width);
    const std::int64_t outside = std::clamp(right, inside, width);
    const std::int64_t padded = (right - left) * channels, result = (q1 - q0) * channels;
    const Scratch scratch(memory_, static_cast<std::size_t>(padded + result + 1) * sizeof(C));
    C* line = scratch.as<C>();
    std::fill_n(line, padded, C(0));
    C* existing = line + (inside - left) * channels;
    const std::int64_t count = (outside - inside) * channels;
    for (std::int64_t p = p0; p < p1; ++p) {
      const Window window = vertical_.window(p);
      const std::int64_t k0 = std::max<std::int64_t>(0, -window.first);
      const std::int64_t k1 = std::min(window.taps, x_.shape[1] - window.first);
      T* target = y_.as<T>() + ((n * y_.shape[1] + p) * y_.shape[2] + q0) * channels;
      C* sums = line + padded;
      if constexpr (std::is_same_v<T, C>) sums = target;
      if (k0 >= k1) {
        std::fill_n(sums, result, C(0));
      } else if (separable_) {
        const T* source = input_at(n, window.first + k0, inside);
        sum_along<false>(existing, source, count, width * channels, column_taps_[0].of(window.phase) + k0,
                         k1 - k0);
        sum_row<false>(sums, line, left, q0, q1, row_taps_[0]);
      } else {
        for (std::int64_t k = k0; k < k1; ++k) {
          const T* row = input_at(n, window.first + k, inside);
          for (std::int64_t i = 0; i < count; ++i) existing[i] = load(row[i]);
          const auto& taps = row_taps_[static_cast<std::size_t>(window.phase + k * vertical_.up)];
          if (k == k0)
            sum_row<false>(sums, line, left, q0, q1, taps);
          else
            sum_row<true>(sums, line, left, q0, q1, taps);
        }
      }
      if constexpr (!std::is_same_v<T, C>)
        for (std::int64_t i = 0; i < result; ++i) store(target[i], sums[i]);
    }
  }

  const T* input_at(std::int64_t n, std::int64_t h, std::int64_t w) const {
    return x_.as<T>() + ((n * x_.shape[1] + h) * x_.shape[2] + w) * x_.shape[3];
  }

  /// Outputs q0..q1 of one row from its input columns from `left` on.
  template <bool Add>
  void sum_row(C* y, const C* line, std::int64_t left, std::int64_t q0, std::int64_t q1,
               const Phases<C>& taps) const {
    const std::int64_t channels = x_.shape[3];
    if (horizontal_.up == 1 && horizontal_.down == 1)
      return sum_along<Add>(y, line, (q1 - q0) * channels, channels, taps.of(0), horizontal_.taps);
    if (horizontal_.down == 1 && channels < kFewChannels) return sum_phases<Add>(y, line, left, q0, q1, taps);
    for (std::int64_t q = q0; q < q1; ++q) {
      const Window window = horizontal_.window(q);
      sum_along<Add>(y + (q - q0) * channels, line + (window.first - left) * channels, channels, channels,
                     taps.of(window.phase), window.taps);
    }
  }

  /// The same where a pixel has too few channels for a loop of its own: every up-th output has the same taps
  /// and reads one input pixel further, so they are one sum over pixels and channels, dealt out afterwards.
  template <bool Add>
  void sum_phases(C* y, const C* line, std::int64_t left, std::int64_t q0, std::int64_t q1,
                  const Phases<C>& taps) const {
    const std::int64_t channels = x_.shape[3], up = horizontal_.up;
    C phase[kPhasePixels * kFewChannels];
    for (std::int64_t from = q0; from < std::min(q1, q0 + up); ++from) {
      const Window window = horizontal_.window(from);
      const C* x = line + (window.first - left) * channels;
      const std::int64_t pixels = (q1 - from + up - 1) / up;
      for (std::int64_t i = 0; i < pixels; i += kPhasePixels) {
        const std::int64_t count = std::min(kPhasePixels, pixels - i);
        sum_along<false>(phase, x + i * channels, count * channels, channels, taps.of(window.phase),
                         window.taps);
        deal<Add>(phase, count, channels, y + (from - q0 + i * up) * channels, up * channels);
      }
    }
  }

  In x_;
  Out y_;
  CachingAllocator& memory_;
  Axis vertical_, horizontal_;
  bool separable_ = false;
  std::vector<Phases<C>> column_taps_;  // of u, where separable
  std::vector<Phases<C>> row_taps_;     // of v, or of every row of the filter
};

}  // namespace

void CpuBackend::upfirdn2d(In x, In filter, Out y, const UpFirDnParams& params) {
  if (y.shape.elements() == 0) return;
  dispatch_floating("upfirdn2d", x.dtype,
                    [&]<class T>(Type<T>) { UpFirDn<T>(x, filter, y, params, memory()).run(); });
}

}  // namespace om
