// The two gradients of conv2d as matrix products.
//
// Input: x[h, w] meets tap (r, s) only where stride divides h + pad - r and w + pad - s. So the pixels of x
// fall into stride_h stride_w phases, each of which is a plain convolution of g with its own taps, and no
// product with an inserted zero is formed.
//
// Weights: rows are output channels, columns (tap, input channel), and k runs over the pixels of g, in chunks
// of a fixed size that are added in order.
#include <cstring>

#include "tensor/cpu/conv_rows.h"
#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/gemm.h"
#include "tensor/cpu/widened.h"
#include "tensor/cpu/winograd.h"

namespace om {
namespace cpu {
namespace {

template <class T>
void input_grad_phase(CachingAllocator& memory, const T* g, const T* w, T* x, const ConvSize& size,
                      std::int64_t phase_h, std::int64_t phase_w, const T* zeros) {
  const std::int64_t stride_h = size.conv.stride_h, stride_w = size.conv.stride_w;
  const Phase h(phase_h, stride_h, size.conv.pad_h, size.h);
  const Phase v(phase_w, stride_w, size.conv.pad_w, size.w);
  std::vector<Tap> taps;
  for (std::int64_t r = phase_h; r < size.kh; r += stride_h)
    for (std::int64_t s = phase_w; s < size.kw; s += stride_w)
      taps.push_back({-(r / stride_h), -(s / stride_w), r * size.kw + s});
  const ImageRows<T> rows{g,        size.oh,  size.ow, size.o, h.count,     v.count,
                          h.origin, v.origin, 1,       1,      taps.data(), zeros};
  const std::int64_t all_taps = size.kh * size.kw;
  const auto row_c = [&](std::int64_t m) {
    const std::int64_t b = m % v.count, a = m / v.count % h.count, n = m / v.count / h.count;
    return x + ((n * size.h + h.first + a * stride_h) * size.w + v.first + b * stride_w) * size.i;
  };
  const GemmSize gemm_size{size.n * h.count * v.count, size.i, static_cast<std::int64_t>(taps.size()),
                           size.o};
  if (size.i <= 4 && gemm_size.k() > 0) {
    Scratch turned(memory, sizeof(T) * static_cast<std::size_t>(size.i * gemm_size.k()));
    T* to = turned.as<T>();
    for (std::int64_t j = 0; j < size.i; ++j)
      for (const Tap& tap : taps)
        for (std::int64_t o = 0; o < size.o; ++o) *to++ = w[(o * all_taps + tap.weight) * size.i + j];
    return gemm_dots<T>(gemm_size, rows, turned.as<T>(), gemm_size.k(),
                        [&](std::int64_t m, std::int64_t j, T value) { row_c(m)[j] = value; });
  }
  const auto pack = [&](std::int64_t tap, std::int64_t first, std::int64_t count, std::int64_t column,
                        std::int64_t width, T* panel) {
    const std::int64_t number = taps[static_cast<std::size_t>(tap)].weight;
    kernels<T>().pack_rows(w + (first * all_taps + number) * size.i + column, all_taps * size.i, count, width,
                           panel);
  };
  gemm<T>(memory, gemm_size, rows, pack, row_c);
}

template <class T>
void input_grad(CachingAllocator& memory, In g, In w, Out x, const ConvSize& size) {
  if (x.shape.elements() == 0) return;
  if constexpr (std::is_same_v<T, float>)
    if (winograd_pays(size))
      return winograd_input_grad(memory, g.as<float>(), w.as<float>(), x.as<float>(), size);
  const std::vector<T> zeros(static_cast<std::size_t>(size.o));
  for (std::int64_t a = 0; a < size.conv.stride_h; ++a)
    for (std::int64_t b = 0; b < size.conv.stride_w; ++b)
      input_grad_phase(memory, g.as<T>(), w.as<T>(), x.as<T>(), size, a, b, zeros.data());
}

/// Pixels of g that one product of the weight gradient sums over.
std::int64_t pixels_at_once(std::int64_t o) {
  return std::clamp<std::int64_t>((1 << 20) / std::max<std::int64_t>(o, 1), 384, 8192);
}

/// out[o, pixel] = g[first + pixel, o].
template <class T>
void turn_pixels(const T* g, std::int64_t pixels, std::int64_t channels, T* out, std::int64_t step,
                 int workers) {
  constexpr std::int64_t kBlock = 16;
#pragma omp parallel for schedule(static) num_threads(workers) if (workers > 1)
  for (std::int64_t p0 = 0; p0 < pixels; p0 += kBlock)
    for (std::int64_t o0 = 0; o0 < channels; o0 += kBlock)
      for (std::int64_t o = o0; o < std::min(channels, o0 + kBlock); ++o)
        for (std::int64_t p = p0; p < std::min(pixels, p0 + kBlock); ++p)
          out[o * step + p] = g[p * channels + o];
}

/// panel[p, :] = columns [column, column + width) of the windows under pixels first, first + 1, ... of g.
template <class T>
void pack_windows(const T* x, const ConvSize& size, std::int64_t first, std::int64_t count,
                  std::int64_t column, std::int64_t width, T* panel) {
  const std::int64_t columns = kernels<T>().columns;
  if (width < columns) std::fill_n(panel, count * columns, T(0));
  for (std::int64_t done = 0; done < width;) {
    const std::int64_t tap = (column + done) / size.i, channel = (column + done) % size.i;
    const std::int64_t run = std::min(width - done, size.i - channel);
    const std::int64_t dh = tap / size.kw - size.conv.pad_h, dw = tap % size.kw - size.conv.pad_w;
    std::int64_t q = first % size.ow, p = first / size.ow % size.oh, n = first / size.ow / size.oh;
    T* out = panel + done;
    for (std::int64_t k = 0; k < count; ++k, out += columns) {
      const std::int64_t h = p * size.conv.stride_h + dh, v = q * size.conv.stride_w + dw;
      if (h >= 0 && h < size.h && v >= 0 && v < size.w) {
        const T* from = x + ((n * size.h + h) * size.w + v) * size.i + channel;
        if (run == columns)
          std::memcpy(out, from, sizeof(T) * columns);
        else
          for (std::int64_t j = 0; j < run; ++j) out[j] = from[j];
      } else {
        std::fill_n(out, run, T(0));
      }
      if (++q == size.ow) {
        q = 0;
        if (++p == size.oh) p = 0, ++n;
      }
    }
    done += run;
  }
}

template <class T>
void weight_grad(CachingAllocator& memory, In x, In g, Out w, const ConvSize& size) {
  if (w.shape.elements() == 0) return;
  if constexpr (std::is_same_v<T, float>)
    if (winograd_pays_for_weights(size))
      return winograd_weight_grad(memory, x.as<float>(), g.as<float>(), w.as<float>(), size);
  const std::int64_t pixels = size.n * size.oh * size.ow, columns = size.kh * size.kw * size.i;
  T* out = w.as<T>();
  if (pixels == 0) return static_cast<void>(std::fill_n(out, w.shape.elements(), T(0)));
  const std::int64_t chunk = std::min(pixels, pixels_at_once(size.o));
  const std::int64_t step =
      round_up(chunk, 16) + 16;  // odd multiples of a cache line: no power-of-two strides
  Scratch turned(memory, sizeof(T) * static_cast<std::size_t>(step * size.o));
  for (std::int64_t first = 0; first < pixels; first += chunk) {
    const std::int64_t count = std::min(chunk, pixels - first);
    const GemmSize gemm_size{size.o, columns, 1, count};
    const int workers = gemm_threads(gemm_size.flops());
    turn_pixels(g.as<T>() + first * size.o, count, size.o, turned.as<T>(), step, workers);
    const auto pack = [&](std::int64_t, std::int64_t from, std::int64_t length, std::int64_t column,
                          std::int64_t width, T* panel) {
      pack_windows(x.as<T>(), size, first + from, length, column, width, panel);
    };
    for (std::int64_t o = 0; o < size.o; o += kFewRows)
      gemm_few_rows<T>(
          memory, {std::min(kFewRows, size.o - o), columns, 1, count},
          MatrixRows<T>{turned.as<T>() + o * step, step}, pack,
          [&](std::int64_t m) { return out + (o + m) * columns; }, first > 0, workers);
  }
}

}  // namespace
}  // namespace cpu

void CpuBackend::conv2d_input_grad(In g, In w, Out x, const Conv2dParams& params) {
  cpu::with_float_operands(memory(), "conv2d_input_grad", g, w, x, [&]<class T>(Type<T>, In p, In q, Out r) {
    cpu::input_grad<T>(memory(), p, q, r, cpu::ConvSize(r.shape, q.shape, p.shape, params));
  });
}

void CpuBackend::conv2d_weight_grad(In x, In g, Out w, const Conv2dParams& params) {
  cpu::with_float_operands(memory(), "conv2d_weight_grad", x, g, w, [&]<class T>(Type<T>, In p, In q, Out r) {
    cpu::weight_grad<T>(memory(), p, q, r, cpu::ConvSize(p.shape, r.shape, q.shape, params));
  });
}

}  // namespace om
