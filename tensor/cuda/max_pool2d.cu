// max_pool2d: one thread per place of the result and V channels.
#include <limits>

#include "tensor/cuda/check.h"
#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/index.h"
#include "tensor/cuda/vector.h"

namespace om::cuda {
namespace {

constexpr int kBlock = 256;

struct Sizes {
  std::int64_t h, w, c, places;  // x's; y's places, all images
  Divisor by_groups, by_ow, by_oh;
};

template <class T, int V>
__global__ void __launch_bounds__(kBlock)
    max_pool2d_kernel(const T* x, T* y, std::int32_t* index, Sizes s, Pool2dParams params) {
  using C = arithmetic_t<T>;
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x;
  const std::int64_t place = s.by_groups.divide(thread);
  if (place >= s.places) return;
  const std::int64_t channel = (thread - place * s.by_groups.value()) * V;
  const std::int64_t line = s.by_ow.divide(place), q = place - line * s.by_ow.value();
  const std::int64_t n = s.by_oh.divide(line), p = line - n * s.by_oh.value();
  const auto top = static_cast<int>(p * params.stride_h - params.pad_h);
  const auto left = static_cast<int>(q * params.stride_w - params.pad_w);
  const int bottom = min(top + static_cast<int>(params.kernel_h), static_cast<int>(s.h));
  const int right = min(left + static_cast<int>(params.kernel_w), static_cast<int>(s.w));
  const T* const sample = x + n * s.h * s.w * s.c + channel;
  C largest[V];
  std::int32_t best[V];
#pragma unroll
  for (int k = 0; k < V; ++k) {
    largest[k] = -std::numeric_limits<C>::infinity();
    best[k] = -1;
  }
  for (int h = max(top, 0); h < bottom; ++h)
    for (int w = max(left, 0); w < right; ++w) {
      const auto pixel = static_cast<std::int32_t>((h * s.w + w) * s.c);
      C value[V];
      load<V>(sample + pixel, value);
#pragma unroll
      for (int k = 0; k < V; ++k)
        if (best[k] < 0 || value[k] > largest[k] || (value[k] != value[k] && largest[k] == largest[k])) {
          largest[k] = value[k];
          best[k] = pixel + static_cast<std::int32_t>(channel) + k;
        }
    }
  const std::int64_t at = place * s.c + channel;
  store<V>(y + at, largest);
  store<V>(index + at, best);
}

}  // namespace

void CudaBackend::max_pool2d(In x, Out y, Out index, const Pool2dParams& params) {
  const Ordered order(*this, {x}, {y, index});
  if (y.shape.elements() == 0) return;
  dispatch_floating("cuda max_pool2d", y.dtype, [&]<class T>(Type<T>) {
    const auto launch = [&]<int V>(std::integral_constant<int, V>) {
      const std::int64_t groups = y.shape[3] / V, places = y.shape[0] * y.shape[1] * y.shape[2];
      const Sizes sizes{x.shape[1],      x.shape[2],          x.shape[3],         places,
                        Divisor(groups), Divisor(y.shape[2]), Divisor(y.shape[1])};
      max_pool2d_kernel<T, V>
          <<<static_cast<unsigned>((places * groups + kBlock - 1) / kBlock), kBlock, 0, stream_>>>(
              x.as<T>(), y.as<T>(), index.as<std::int32_t>(), sizes, params);
    };
    if (y.shape[3] % kVector<T> == 0 && aligned(16, x.data, y.data, index.data))
      launch(std::integral_constant<int, kVector<T>>{});
    else
      launch(std::integral_constant<int, 1>{});
  });
  check_launch("max_pool2d");
}

}  // namespace om::cuda
