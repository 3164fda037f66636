// upfirdn2d. The blur of the synthesis network (4x4 taps, no resampling) has a kernel in which a thread forms
// kDown x kAcross neighbouring results of a few channels, walking down: each loaded row of kAcross + 3 pixels
// serves the four results that it meets. Anything else takes one thread a result, the factors 1 and 2 as
// constants.
#include <optional>

#include "tensor/cuda/check.h"
#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/vector.h"

namespace om::cuda {
namespace {

constexpr int kBlock = 128, kTaps = 4, kAcross = 2, kDown = 8;

/// Channels of a thread of the blur: few enough that its sums fit in registers.
template <class T>
constexpr int kBlurred = sizeof(T) == 8 ? 2 : 4;

/// Sizes of x [N, H, W, C] and y [N, OH, OW, C], the filter's, and the pads on the top and left. I is wide
/// enough for every offset.
template <class I>
struct Sizes {
  I n, h, w, c, oh, ow, kernel_h, kernel_w, up_h, up_w, down_h, down_w, top, left;
  bool flip;

  Sizes(const Shape& x, const Shape& filter, const Shape& y, const UpFirDnParams& p)
      : n(static_cast<I>(x[0])),
        h(static_cast<I>(x[1])),
        w(static_cast<I>(x[2])),
        c(static_cast<I>(x[3])),
        oh(static_cast<I>(y[1])),
        ow(static_cast<I>(y[2])),
        kernel_h(static_cast<I>(filter[0])),
        kernel_w(static_cast<I>(filter[1])),
        up_h(static_cast<I>(p.up_h)),
        up_w(static_cast<I>(p.up_w)),
        down_h(static_cast<I>(p.down_h)),
        down_w(static_cast<I>(p.down_w)),
        top(static_cast<I>(p.pad_top)),
        left(static_cast<I>(p.pad_left)),
        flip(p.flip) {}
};

template <class T>
__global__ void __launch_bounds__(kBlock)
    blur_kernel(const T* x, const arithmetic_t<T>* filter, T* y, Sizes<int> s) {
  using C = arithmetic_t<T>;
  constexpr int V = kBlurred<T>;
  __shared__ C taps[kTaps * kTaps];
  if (threadIdx.x < kTaps * kTaps)
    taps[threadIdx.x] = filter[s.flip ? threadIdx.x : kTaps * kTaps - 1 - threadIdx.x];
  __syncthreads();
  const int groups = s.c / V, across = (s.ow + kAcross - 1) / kAcross, down = (s.oh + kDown - 1) / kDown;
  int rest = static_cast<int>(blockIdx.x) * kBlock + static_cast<int>(threadIdx.x);
  if (rest >= s.n * down * across * groups) return;
  const int channel = rest % groups * V;
  rest /= groups;
  const int q = rest % across * kAcross;
  rest /= across;
  const int p = rest % down * kDown, n = rest / down;
  const T* const image = x + static_cast<std::int64_t>(n) * s.h * s.w * s.c + channel;
  T* const result = y + static_cast<std::int64_t>(n) * s.oh * s.ow * s.c + channel;
  // A row of x serves the kTaps results above it; unrolled, the sums of four rows live in registers at a
  // time.
  C sums[kDown][kAcross][V];
#pragma unroll
  for (int r = 0; r < kDown + kTaps - 1; ++r) {
    const int h = p + r - s.top;
    C line[kAcross + kTaps - 1][V];
#pragma unroll
    for (int k = 0; k < kAcross + kTaps - 1; ++k) {
      const int w = q + k - s.left;
      if (h >= 0 && h < s.h && w >= 0 && w < s.w) {
        load<V>(image + (h * s.w + w) * s.c, line[k]);
      } else {
#pragma unroll
        for (int i = 0; i < V; ++i) line[k][i] = 0;
      }
    }
#pragma unroll
    for (int j = 0; j < kDown; ++j) {
      const int tap = r - j;  // the row of the filter that meets this row for result p + j
      if (tap < 0 || tap >= kTaps) continue;
#pragma unroll
      for (int t = 0; t < kTaps; ++t) {
        const C factor = taps[tap * kTaps + t];
#pragma unroll
        for (int a = 0; a < kAcross; ++a)
#pragma unroll
          for (int i = 0; i < V; ++i)
            sums[j][a][i] = (tap == 0 && t == 0 ? C{0} : sums[j][a][i]) + factor * line[a + t][i];
      }
    }
    const int done = r - (kTaps - 1);
    if (done < 0 || p + done >= s.oh) continue;
#pragma unroll
    for (int a = 0; a < kAcross; ++a)
      if (q + a < s.ow) store<V>(result + ((p + done) * s.ow + q + a) * s.c, sums[done < 0 ? 0 : done][a]);
  }
}

/// First index >= 0 whose place `start + index` is a multiple of `up`.
template <class I>
__device__ I first_on_grid(I start, I up) {
  const I rest = start % up;
  return rest == 0 ? 0 : rest < 0 ? -rest : up - rest;
}

/// up and down are the factors of both directions, 0: those in s.
template <class T, class I, int up, int down>
__global__ void __launch_bounds__(kBlock)
    upfirdn2d_kernel(const T* x, const arithmetic_t<T>* filter, T* y, Sizes<I> s) {
  using C = arithmetic_t<T>;
  const I up_h = up > 0 ? up : s.up_h, up_w = up > 0 ? up : s.up_w;
  const I down_h = down > 0 ? down : s.down_h, down_w = down > 0 ? down : s.down_w;
  I rest = static_cast<I>(blockIdx.x) * kBlock + static_cast<I>(threadIdx.x);
  if (rest >= s.n * s.oh * s.ow * s.c) return;
  T* const to = y + rest;
  const I channel = rest % s.c;
  rest /= s.c;
  const I left = rest % s.ow * down_w - s.left;
  rest /= s.ow;
  const I top = rest % s.oh * down_h - s.top, n = rest / s.oh;
  const T* const sample = x + static_cast<std::int64_t>(n) * s.h * s.w * s.c + channel;
  C sum = 0;
  for (I r = first_on_grid(top, up_h); r < s.kernel_h; r += up_h) {
    const I h = (top + r) / up_h;
    if (top + r < 0 || h >= s.h) continue;
    for (I t = first_on_grid(left, up_w); t < s.kernel_w; t += up_w) {
      const I w = (left + t) / up_w;
      if (left + t < 0 || w >= s.w) continue;
      const I tap = s.flip ? r * s.kernel_w + t : (s.kernel_h - 1 - r) * s.kernel_w + (s.kernel_w - 1 - t);
      sum += filter[tap] * static_cast<C>(sample[(h * s.w + w) * s.c]);
    }
  }
  *to = static_cast<T>(sum);
}

unsigned blocks_of(std::int64_t threads) { return static_cast<unsigned>((threads + kBlock - 1) / kBlock); }

}  // namespace

void CudaBackend::upfirdn2d(In x, In filter, Out y, const UpFirDnParams& p) {
  const Ordered order(*this, {x, filter}, {y});
  const std::int64_t count = y.shape.elements();
  if (count == 0) return;
  // The kernels take a filter in the type that they sum in.
  std::optional<Scratch> widened;
  if (y.dtype == DType::f64 && filter.dtype == DType::f32) {
    widened.emplace(*this, static_cast<std::size_t>(filter.shape.elements()) * sizeof(double));
    const Out wide{widened->data(), DType::f64, filter.shape};
    cast(filter, wide);
    filter = wide;
  }
  constexpr std::int64_t kMost = std::int64_t{1} << 30;  // what int counts with room to spare
  const bool narrow = count < kMost && x.shape.elements() < kMost && std::abs(p.pad_top) < kMost &&
                      std::abs(p.pad_left) < kMost && p.down_h < 64 && p.down_w < 64 && p.up_h < 64 &&
                      p.up_w < 64;
  const auto both = [&](std::int64_t up, std::int64_t down) {
    return p.up_h == up && p.up_w == up && p.down_h == down && p.down_w == down;
  };
  dispatch_floating("cuda upfirdn2d", y.dtype, [&]<class T>(Type<T>) {
    using F = arithmetic_t<T>;
    const auto* from = x.as<T>();
    const auto* taps = filter.as<F>();
    if (!narrow) {
      upfirdn2d_kernel<T, std::int64_t, 0, 0><<<blocks_of(count), kBlock, 0, stream_>>>(
          from, taps, y.as<T>(), Sizes<std::int64_t>(x.shape, filter.shape, y.shape, p));
      return;
    }
    const Sizes<int> sizes(x.shape, filter.shape, y.shape, p);
    constexpr int V = kBlurred<T>;
    if (both(1, 1) && sizes.kernel_h == kTaps && sizes.kernel_w == kTaps && sizes.c % V == 0 &&
        aligned(V * sizeof(T), x.data, y.data)) {
      const std::int64_t across = (sizes.ow + kAcross - 1) / kAcross, down = (sizes.oh + kDown - 1) / kDown;
      blur_kernel<T><<<blocks_of(x.shape[0] * down * across * (sizes.c / V)), kBlock, 0, stream_>>>(
          from, taps, y.as<T>(), sizes);
      return;
    }
    const auto launch = [&]<int up, int down>(std::integral_constant<int, up>,
                                              std::integral_constant<int, down>) {
      upfirdn2d_kernel<T, int, up, down>
          <<<blocks_of(count), kBlock, 0, stream_>>>(from, taps, y.as<T>(), sizes);
    };
    constexpr std::integral_constant<int, 0> any;
    constexpr std::integral_constant<int, 1> one;
    constexpr std::integral_constant<int, 2> two;
    if (both(1, 1)) return launch(one, one);
    if (both(2, 1)) return launch(two, one);
    if (both(1, 2)) return launch(one, two);
    launch(any, any);
  });
  check_launch("upfirdn2d");
}

}  // namespace om::cuda
