// max_pool2d and upfirdn2d: one thread per element of the result.
#include <limits>

#include "tensor/cuda/check.h"
#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/index.h"
#include "tensor/cuda/launch.h"
#include "tensor/cuda/number.h"

namespace om::cuda {
namespace {

/// Sizes of x [N, H, W, C] and y [N, OH, OW, C], and how a flat index of y splits.
struct Images {
  std::int64_t h, w, c, count;
  Divisor by_c, by_ow, by_oh;

  Images(const Shape& x, const Shape& y)
      : h(x[1]), w(x[2]), c(x[3]), count(y.elements()), by_c(y[3]), by_ow(y[2]), by_oh(y[1]) {}
};

struct Place {
  std::int64_t n, p, q, c;
};

__device__ Place place_of(const Images& images, std::int64_t index) {
  Place place{};
  const std::int64_t pixel = images.by_c.divide(index);
  place.c = index - pixel * images.by_c.value();
  const std::int64_t row = images.by_ow.divide(pixel);
  place.q = pixel - row * images.by_ow.value();
  place.n = images.by_oh.divide(row);
  place.p = row - place.n * images.by_oh.value();
  return place;
}

template <class T>
__global__ void max_pool2d_kernel(const T* x, T* y, std::int32_t* index, Images images, Pool2dParams params) {
  using C = arithmetic_t<T>;
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= images.count) return;
  const Place at = place_of(images, i);
  const std::int64_t top = at.p * params.stride_h - params.pad_h,
                     left = at.q * params.stride_w - params.pad_w;
  const T* const sample = x + at.n * images.h * images.w * images.c;
  std::int64_t best = -1;
  C largest = -std::numeric_limits<C>::infinity();
  for (std::int64_t h = max(top, std::int64_t{0}); h < min(top + params.kernel_h, images.h); ++h)
    for (std::int64_t w = max(left, std::int64_t{0}); w < min(left + params.kernel_w, images.w); ++w) {
      const std::int64_t place = (h * images.w + w) * images.c + at.c;
      const C value = static_cast<C>(sample[place]);
      if (best < 0 || value > largest || (value != value && largest == largest)) {
        largest = value;
        best = place;
      }
    }
  y[i] = static_cast<T>(largest);
  index[i] = static_cast<std::int32_t>(best);
}

/// First index >= 0 whose place `start + index` is a multiple of `up`.
__device__ std::int64_t first_on_grid(std::int64_t start, std::int64_t up) {
  const std::int64_t rest = start % up;
  return rest == 0 ? 0 : rest < 0 ? -rest : up - rest;
}

template <class T, class F>
__global__ void upfirdn2d_kernel(const T* x, const F* filter, T* y, Images images, std::int64_t kernel_h,
                                 std::int64_t kernel_w, UpFirDnParams params) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= images.count) return;
  const Place at = place_of(images, i);
  const std::int64_t top = at.p * params.down_h - params.pad_top;
  const std::int64_t left = at.q * params.down_w - params.pad_left;
  const T* const sample = x + at.n * images.h * images.w * images.c + at.c;
  F sum = 0;
  for (std::int64_t r = first_on_grid(top, params.up_h); r < kernel_h; r += params.up_h) {
    const std::int64_t h = (top + r) / params.up_h;
    if (top + r < 0 || h >= images.h) continue;
    for (std::int64_t s = first_on_grid(left, params.up_w); s < kernel_w; s += params.up_w) {
      const std::int64_t w = (left + s) / params.up_w;
      if (left + s < 0 || w >= images.w) continue;
      const std::int64_t tap =
          params.flip ? r * kernel_w + s : (kernel_h - 1 - r) * kernel_w + (kernel_w - 1 - s);
      sum += filter[tap] * static_cast<F>(sample[(h * images.w + w) * images.c]);
    }
  }
  y[i] = static_cast<T>(sum);
}

unsigned blocks_of(std::int64_t count) { return static_cast<unsigned>((count + kThreads - 1) / kThreads); }

}  // namespace

void CudaBackend::max_pool2d(In x, Out y, Out index, const Pool2dParams& params) {
  if (y.shape.elements() == 0) return;
  const Images images(x.shape, y.shape);
  dispatch_floating("cuda max_pool2d", y.dtype, [&]<class T>(Type<T>) {
    max_pool2d_kernel<T><<<blocks_of(images.count), kThreads, 0, stream_>>>(
        x.as<T>(), y.as<T>(), index.as<std::int32_t>(), images, params);
  });
  check_launch("max_pool2d");
}

void CudaBackend::upfirdn2d(In x, In filter, Out y, const UpFirDnParams& params) {
  if (y.shape.elements() == 0) return;
  const Images images(x.shape, y.shape);
  dispatch_floating("cuda upfirdn2d", y.dtype, [&]<class T>(Type<T>) {
    using F = arithmetic_t<T>;
    upfirdn2d_kernel<T, F><<<blocks_of(images.count), kThreads, 0, stream_>>>(
        x.as<T>(), filter.as<F>(), y.as<T>(), images, filter.shape[0], filter.shape[1], params);
  });
  check_launch("upfirdn2d");
}

}  // namespace om::cuda
