// max_pool2d: a window's places one after the other, each over all channels at once.
#include <algorithm>

#include "tensor/cpu/convert.h"
#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/loops.h"
#include "tensor/cpu/parallel.h"

namespace om {
namespace {

using namespace cpu;

/// Keeps the larger of best and x per channel; of equal values the earlier, NaN before every number.
template <class T>
void keep_larger(const T* x, std::int32_t place, std::int64_t channels, T* __restrict best,
                 std::int32_t* __restrict index) {
  using C = Computed<T>;
  for (std::int64_t c = 0; c < channels; ++c) {
    const C value = load(x[c]), champion = load(best[c]);
    const bool wins = (value > champion) | ((value != value) & (champion == champion));
    store(best[c], wins ? value : champion);
    index[c] = wins ? place + static_cast<std::int32_t>(c) : index[c];
  }
}

template <class T>
void pool_row(const T* sample, T* y, std::int32_t* index, const Shape& x_shape, std::int64_t p,
              std::int64_t out_width, const Pool2dParams& params) {
  const std::int64_t height = x_shape[1], width = x_shape[2], channels = x_shape[3];
  const std::int64_t top = p * params.stride_h - params.pad_h;
  const std::int64_t h0 = std::max<std::int64_t>(top, 0), h1 = std::min(top + params.kernel_h, height);
  for (std::int64_t q = 0; q < out_width; ++q, y += channels, index += channels) {
    const std::int64_t left = q * params.stride_w - params.pad_w;
    const std::int64_t w0 = std::max<std::int64_t>(left, 0), w1 = std::min(left + params.kernel_w, width);
    for (std::int64_t h = h0; h < h1; ++h)
      for (std::int64_t w = w0; w < w1; ++w) {
        const std::int64_t place = (h * width + w) * channels;
        if (h > h0 || w > w0) {
          keep_larger(sample + place, static_cast<std::int32_t>(place), channels, y, index);
        } else {
          std::copy_n(sample + place, channels, y);
          for (std::int64_t c = 0; c < channels; ++c) index[c] = static_cast<std::int32_t>(place + c);
        }
      }
  }
}

}  // namespace

void CpuBackend::max_pool2d(In x, Out y, Out index, const Pool2dParams& params) {
  const std::int64_t out_height = y.shape[1], out_row = y.shape[2] * y.shape[3];
  const std::int64_t sample = x.shape[1] * x.shape[2] * x.shape[3];
  const std::int64_t rows_per_tile =
      std::max<std::int64_t>(1, kTile / std::max<std::int64_t>(1, 4 * out_row));
  dispatch_floating("max_pool2d", x.dtype, [&]<class T>(Type<T>) {
    parallel_tiles(y.shape[0] * out_height, rows_per_tile, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row)
        pool_row(x.as<T>() + row / out_height * sample, y.as<T>() + row * out_row,
                 index.as<std::int32_t>() + row * out_row, x.shape, row % out_height, y.shape[2], params);
    });
  });
}

}  // namespace om
