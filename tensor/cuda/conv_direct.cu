#include "tensor/cuda/check.h"
#include "tensor/cuda/conv_direct.h"
#include "tensor/cuda/number.h"

namespace om::cuda {
namespace {

constexpr int kBlock = 128;

struct Sizes {
  std::int64_t n, h, w, i, o, kh, kw, oh, ow, stride_h, stride_w, pad_h, pad_w;
};

template <class T, class R>
__global__ void forward_kernel(const T* x, const T* w, R* y, Sizes s) {
  using C = arithmetic_t<T>;
  std::int64_t rest = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x;
  if (rest >= s.n * s.oh * s.ow * s.o) return;
  R* const result = y + rest;
  const std::int64_t o = rest % s.o;
  const std::int64_t q = (rest /= s.o) % s.ow;
  const std::int64_t p = (rest /= s.ow) % s.oh;
  const std::int64_t n = rest / s.oh;
  C sum = 0;
  for (std::int64_t r = 0; r < s.kh; ++r) {
    const std::int64_t h = p * s.stride_h + r - s.pad_h;
    if (h < 0 || h >= s.h) continue;
    for (std::int64_t t = 0; t < s.kw; ++t) {
      const std::int64_t v = q * s.stride_w + t - s.pad_w;
      if (v < 0 || v >= s.w) continue;
      const T* const pixel = x + ((n * s.h + h) * s.w + v) * s.i;
      const T* const tap = w + ((o * s.kh + r) * s.kw + t) * s.i;
      for (std::int64_t i = 0; i < s.i; ++i) sum += static_cast<C>(pixel[i]) * static_cast<C>(tap[i]);
    }
  }
  *result = static_cast<R>(sum);
}

template <class T, class R>
__global__ void input_grad_kernel(R* x, const T* w, const T* g, Sizes s) {
  using C = arithmetic_t<T>;
  std::int64_t rest = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x;
  if (rest >= s.n * s.h * s.w * s.i) return;
  R* const result = x + rest;
  const std::int64_t i = rest % s.i;
  const std::int64_t v = (rest /= s.i) % s.w;
  const std::int64_t h = (rest /= s.w) % s.h;
  const std::int64_t n = rest / s.h;
  C sum = 0;
  for (std::int64_t r = 0; r < s.kh; ++r) {
    const std::int64_t down = h + s.pad_h - r;
    if (down < 0 || down % s.stride_h != 0 || down / s.stride_h >= s.oh) continue;
    for (std::int64_t t = 0; t < s.kw; ++t) {
      const std::int64_t across = v + s.pad_w - t;
      if (across < 0 || across % s.stride_w != 0 || across / s.stride_w >= s.ow) continue;
      const T* const pixel = g + ((n * s.oh + down / s.stride_h) * s.ow + across / s.stride_w) * s.o;
      const T* const tap = w + (r * s.kw + t) * s.i + i;
      for (std::int64_t o = 0; o < s.o; ++o)
        sum += static_cast<C>(pixel[o]) * static_cast<C>(tap[o * s.kh * s.kw * s.i]);
    }
  }
  *result = static_cast<R>(sum);
}

/// One block per weight: its threads share the pixels of g and meet in a binary tree.
template <class T, class R>
__global__ void weight_grad_kernel(const T* x, R* w, const T* g, Sizes s) {
  using C = arithmetic_t<T>;
  __shared__ C shared[kBlock];
  std::int64_t rest = blockIdx.x;
  R* const result = w + rest;
  const std::int64_t i = rest % s.i;
  const std::int64_t t = (rest /= s.i) % s.kw;
  const std::int64_t r = (rest /= s.kw) % s.kh;
  const std::int64_t o = rest / s.kh;
  const int thread = static_cast<int>(threadIdx.x);
  C sum = 0;
  for (std::int64_t pixel = thread; pixel < s.n * s.oh * s.ow; pixel += kBlock) {
    const std::int64_t q = pixel % s.ow, p = pixel / s.ow % s.oh, n = pixel / s.ow / s.oh;
    const std::int64_t h = p * s.stride_h + r - s.pad_h, v = q * s.stride_w + t - s.pad_w;
    if (h < 0 || h >= s.h || v < 0 || v >= s.w) continue;
    sum += static_cast<C>(g[pixel * s.o + o]) * static_cast<C>(x[((n * s.h + h) * s.w + v) * s.i + i]);
  }
  shared[thread] = sum;
  for (int half = kBlock / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) shared[thread] += shared[thread + half];
  }
  if (thread == 0) *result = static_cast<R>(shared[0]);
}

}  // namespace

void direct_convolution(const ConvArrays& arrays, const Conv2dParams& params, cudaStream_t stream) {
  const Shape &x = arrays.x_shape, &w = arrays.w_shape, &y = arrays.y_shape;
  const Sizes sizes{
      x[0],         x[1],        x[2], x[3], w[0], w[1], w[2], y[1], y[2], params.stride_h, params.stride_w,
      params.pad_h, params.pad_w};
  const auto blocks = [](const Shape& result) {
    return static_cast<unsigned>((result.elements() + kBlock - 1) / kBlock);
  };
  const auto launch = [&]<class T, class R>(Type<T>, Type<R>) {
    T *const px = static_cast<T*>(arrays.x), *const pw = static_cast<T*>(arrays.w);
    T* const py = static_cast<T*>(arrays.y);
    switch (arrays.kind) {
      case ConvKind::forward:
        forward_kernel<T, R><<<blocks(y), kBlock, 0, stream>>>(px, pw, static_cast<R*>(arrays.y), sizes);
        break;
      case ConvKind::input_grad:
        input_grad_kernel<T, R><<<blocks(x), kBlock, 0, stream>>>(static_cast<R*>(arrays.x), pw, py, sizes);
        break;
      case ConvKind::weight_grad:
        weight_grad_kernel<T, R><<<static_cast<unsigned>(w.elements()), kBlock, 0, stream>>>(
            px, static_cast<R*>(arrays.w), py, sizes);
        break;
    }
  };
  dispatch_floating("cuda conv2d", arrays.dtype, [&]<class T>(Type<T> type) {
    if constexpr (std::is_same_v<T, BFloat16>)
      if (arrays.result == DType::f32) return launch(type, Type<float>{});
    launch(type, type);
  });
  check_launch("direct convolution");
}

}  // namespace om::cuda
