// Convolution as a matrix product: rows are output pixels, columns output channels, and k runs over the
// window's taps and the input channels.
#include "tensor/cpu/conv_rows.h"
#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/gemm.h"
#include "tensor/cpu/widened.h"
#include "tensor/cpu/winograd.h"

namespace om {
namespace cpu {
namespace {

template <class T, class Rows>
void multiply(CachingAllocator& memory, const GemmSize& size, const Rows& rows, const T* weights, T* y) {
  if (size.n <= 4 && size.k() > 0)
    return gemm_dots<T>(size, rows, weights, size.k(),
                        [&](std::int64_t m, std::int64_t j, T value) { y[m * size.n + j] = value; });
  const auto pack = [&](std::int64_t tap, std::int64_t first, std::int64_t count, std::int64_t column,
                        std::int64_t width, T* panel) {
    kernels<T>().pack_transposed(weights + column * size.k() + tap * size.depth + first, size.k(), count,
                                 width, panel);
  };
  gemm<T>(memory, size, rows, pack, matrix_c(y, size.n));
}

template <class T>
void conv2d(CachingAllocator& memory, In x, In w, Out y, const ConvSize& size) {
  if (y.shape.elements() == 0) return;
  if constexpr (std::is_same_v<T, float>)
    if (winograd_pays(size))
      return winograd_conv2d(memory, x.as<float>(), w.as<float>(), y.as<float>(), size);
  const std::int64_t pixels = size.n * size.oh * size.ow;
  if (size.i <= kFewChannels && size.kw > 1) {
    const Padded<T> padded(memory, x.as<T>(), size);
    return multiply<T>(memory, {pixels, size.o, size.kh, size.kw * size.i}, WindowRows<T>{padded, size},
                       w.as<T>(), y.as<T>());
  }
  std::vector<Tap> taps;
  for (std::int64_t r = 0; r < size.kh; ++r)
    for (std::int64_t s = 0; s < size.kw; ++s) taps.push_back({r, s, r * size.kw + s});
  const std::vector<T> zeros(static_cast<std::size_t>(size.i));
  const ImageRows<T> rows{x.as<T>(),
                          size.h,
                          size.w,
                          size.i,
                          size.oh,
                          size.ow,
                          -size.conv.pad_h,
                          -size.conv.pad_w,
                          size.conv.stride_h,
                          size.conv.stride_w,
                          taps.data(),
                          zeros.data()};
  multiply<T>(memory, {pixels, size.o, size.kh * size.kw, size.i}, rows, w.as<T>(), y.as<T>());
}

}  // namespace
}  // namespace cpu

void CpuBackend::conv2d(In x, In w, Out y, const Conv2dParams& params) {
  cpu::with_float_operands(memory(), "conv2d", x, w, y, [&]<class T>(Type<T>, In p, In q, Out r) {
    cpu::conv2d<T>(memory(), p, q, r, cpu::ConvSize(p.shape, q.shape, r.shape, params));
  });
}

}  // namespace om
