// Convolution as a matrix product: rows are output pixels, columns output channels, and k runs over the
// window's taps and the input channels. And which path a convolution or a gradient of one takes:
//
// | pass  | shape                              | path                     | why                      | row |
// |-------|------------------------------------|--------------------------|--------------------------|-----|
// | y x w | float, 3x3, stride 1 or 2, padding | winograd_conv2d, ..      | 4 (stride 2: 1.8) times  | a   |
// |       | to 2, 200 pixels or more, channels |                          | fewer products           |     |
// |       | multiples of 16 from 32 on; with   |                          |                          |     |
// |       | stride 2 from 0.3 GFLOP on, or 1   |                          |                          |     |
// |       | where its parts run one by one     |                          |                          |     |
// | y     | 1x1 inside x, more than 4 channels | conv2d_windows           | rows a fixed step apart: | b   |
// |       | out, 16 pixels a line or more,     |                          | no pointers, no packing  |     |
// |       | panel of weights to 16 KiB         |                          |                          |     |
// | y     | to 4 channels in, wider than 1     | conv2d_windows, padded x | a window's row is one    | c   |
// |       |                                    |                          | run of numbers           |     |
// | x     | 1x1 inside x with stride, 16       | input_grad_pixels        | gaps are cleared line by | g   |
// |       | pixels a line, panel to 32 KiB     |                          | line, while close        |     |
// | x     | other strides                      | below, a product a phase | no inserted zeros        | h   |
// | w     | to 4 channels in                   | weight_grad_few_channels | rows (tap, channel): x   | i   |
// |       |                                    |                          | and g as they lie        |     |
// | y x   | to 4 channels out (x: in)          | gemm_dots                | no panel would be full   | d   |
// | y x   | more than 512 pixels (x: a phase)  | gemm_many_rows           | B packed once for all    | e   |
// | y x w | to 512 (w: channels out, 512 at a  | gemm_few_rows            | B is read once, long     | f   |
// |       | time)                              |                          | sums fall into parts     |     |
//
// y: conv2d, x: its input gradient, w: its weight gradient. The first line that fits counts; doubles begin
// below Winograd. Rows of onemodel_bench (kernel/conv2d*/timed_..): a 64_512, down_257_128_256, up_65_512;
// b skip_256_128_256; c vgg_256_3_64; d rgb_256_128_3; e mix_64_512_256; f 4_512; g skip_256_64_128_s2;
// h up_9_512; i vgg_256_3_64.
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

/// Whether the windows of a line begin a fixed step apart, each of them kh rows of numbers in order, and a
/// panel of their weights fits into the first-level cache.
template <class T>
bool windows_pay(const ConvSize& size) {
  const std::int64_t panel = size.kh * size.kw * size.i * kernels<T>().window_columns;
  if (size.pixelwise())
    return size.o > 4 && size.ow >= kShortLine && panel * static_cast<std::int64_t>(sizeof(T)) <= kSmallBytes;
  return size.i <= kFewChannels && size.kw > 1;
}

/// Short sums over windows that lie in order, in x itself or in the padded image. A task is a line of y.
template <class T>
void conv2d_windows(CachingAllocator& memory, const T* x, const T* w, T* y, const ConvSize& size) {
  const Padded<T> padded(memory, x, size);
  const GemmSize gemm_size{size.n * size.oh * size.ow, size.o, size.kh, size.kw * size.i};
  const WindowPanels<T> panels(memory, gemm_size.k(), size.o,
                               [&](std::int64_t k, std::int64_t o) { return w[o * gemm_size.k() + k]; });
  const int workers = gemm_threads(gemm_size.flops());
  parallel_for(workers, size.n * size.oh, [&](std::int64_t line) {
    const std::int64_t top = line / size.oh * padded.h + line % size.oh * size.conv.stride_h;
    for (std::int64_t p = 0; p < panels.count(); ++p)
      kernels<T>().multiply_windows({padded.data + top * padded.line, size.conv.stride_w * size.i,
                                     padded.line, size.kh, gemm_size.depth, panels[p],
                                     y + line * size.ow * size.o + p * panels.width, size.o, size.ow,
                                     std::min(panels.width, size.o - p * panels.width)});
  });
}

template <class T>
void conv2d(CachingAllocator& memory, In x, In w, Out y, const ConvSize& size) {
  if (y.shape.elements() == 0) return;
  if constexpr (std::is_same_v<T, float>)
    if (winograd_pays(size))
      return winograd_conv2d(memory, x.as<float>(), w.as<float>(), y.as<float>(), size);
  const std::int64_t pixels = size.n * size.oh * size.ow;
  if (windows_pay<T>(size)) return conv2d_windows(memory, x.as<T>(), w.as<T>(), y.as<T>(), size);
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
