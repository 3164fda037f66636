// The two gradients of conv2d as matrix products.
//
// Input: x[h, w] meets tap (r, s) only where stride divides h + pad - r and w + pad - s. So the pixels of x
// fall into stride_h stride_w phases, each of which is a plain convolution of g with its own taps, and no
// product with an inserted zero is formed. A phase that no tap meets (1x1 with stride 2) is zero.
//
// Weights: rows are output channels, columns (tap, input channel), and k runs over the pixels of g, which is
// read where it lies, as the transposed matrix that it is; the windows of x are packed. With few channels of
// x it is the other way round, rows being (tap, input channel), and nothing is packed.
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
  const auto rows_c = phase_c(x, size, h, v);
  const GemmSize gemm_size{size.n * h.count * v.count, size.i, static_cast<std::int64_t>(taps.size()),
                           size.o};
  if (size.i <= 4 && gemm_size.k() > 0) {
    Scratch turned(memory, sizeof(T) * static_cast<std::size_t>(size.i * gemm_size.k()));
    T* to = turned.as<T>();
    for (std::int64_t j = 0; j < size.i; ++j)
      for (const Tap& tap : taps)
        for (std::int64_t o = 0; o < size.o; ++o) *to++ = w[(o * all_taps + tap.weight) * size.i + j];
    return gemm_dots<T>(gemm_size, rows, turned.as<T>(), gemm_size.k(),
                        [&](std::int64_t m, std::int64_t j, T value) {
                          T* c = nullptr;
                          rows_c(m, 1, &c);
                          c[j] = value;
                        });
  }
  const auto pack = [&](std::int64_t tap, std::int64_t first, std::int64_t count, std::int64_t column,
                        std::int64_t width, T* panel) {
    const std::int64_t number = taps[static_cast<std::size_t>(tap)].weight;
    kernels<T>().pack_rows(w + (first * all_taps + number) * size.i + column, all_taps * size.i, count, width,
                           panel);
  };
  gemm<T>(memory, gemm_size, rows, pack, rows_c);
}

/// The phases without a tap, each line of memory once.
template <class T>
void clear_gaps(T* x, const ConvSize& size) {
  const auto met = [](std::int64_t at, std::int64_t pad, std::int64_t stride, std::int64_t taps) {
    return (at + pad) % stride < taps;
  };
  parallel_tiles(size.n * size.h, 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t line = begin; line < end; ++line) {
      T* to = x + line * size.w * size.i;
      if (!met(line % size.h, size.conv.pad_h, size.conv.stride_h, size.kh)) {
        std::fill_n(to, size.w * size.i, T(0));
        continue;
      }
      for (std::int64_t v = 0; v < size.w; ++v)
        if (!met(v, size.conv.pad_w, size.conv.stride_w, size.kw)) std::fill_n(to + v * size.i, size.i, T(0));
    }
  });
}

/// Whether input_grad_pixels is the faster way: x has gaps, the lines of g fill tiles, a panel of weights
/// stays in a first-level cache.
template <class T>
bool pixels_pay(const ConvSize& size) {
  constexpr std::int64_t kPanelBytes = 32 << 10;
  return size.pixelwise() && size.conv.stride_w > 1 && size.i > 4 && size.ow >= kShortLine &&
         size.o * kernels<T>().window_columns * static_cast<std::int64_t>(sizeof(T)) <= kPanelBytes;
}

/// A task clears the lines of x that belong to a line of g, and fills the pixels that meet one while they are
/// close.
template <class T>
void input_grad_pixels(CachingAllocator& memory, const T* g, const T* w, T* x, const ConvSize& size) {
  const WindowPanels<T> panels(memory, size.o, size.i,
                               [&](std::int64_t o, std::int64_t i) { return w[o * size.i + i]; });
  const std::int64_t line = size.w * size.i, stride = size.conv.stride_h;
  parallel_for(size.n * size.oh, [&](std::int64_t task) {
    const std::int64_t first = task % size.oh * stride;
    const std::int64_t lines = task % size.oh + 1 == size.oh ? size.h - first : stride;
    T* to = x + (task / size.oh * size.h + first) * line;
    std::fill_n(to, lines * line, T(0));
    for (std::int64_t p = 0; p < panels.count(); ++p)
      kernels<T>().multiply_windows({g + task * size.ow * size.o, size.o, 0, 1, size.o, panels[p],
                                     to + p * panels.width, size.conv.stride_w * size.i, size.ow,
                                     std::min(panels.width, size.i - p * panels.width)});
  });
}

template <class T>
void input_grad(CachingAllocator& memory, In g, In w, Out x, const ConvSize& size) {
  if (x.shape.elements() == 0) return;
  if constexpr (std::is_same_v<T, float>)
    if (winograd_pays(size))
      return winograd_input_grad(memory, g.as<float>(), w.as<float>(), x.as<float>(), size);
  if (pixels_pay<T>(size)) return input_grad_pixels(memory, g.as<T>(), w.as<T>(), x.as<T>(), size);
  const std::vector<T> zeros(static_cast<std::size_t>(size.o));
  if (size.kh < size.conv.stride_h || size.kw < size.conv.stride_w) clear_gaps(x.as<T>(), size);
  for (std::int64_t a = 0; a < std::min(size.kh, size.conv.stride_h); ++a)
    for (std::int64_t b = 0; b < std::min(size.kw, size.conv.stride_w); ++b)
      input_grad_phase(memory, g.as<T>(), w.as<T>(), x.as<T>(), size, a, b, zeros.data());
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

/// With few channels: rows are the kh kw i numbers of a window, columns the output channels, and the result
/// is turned.
template <class T>
void weight_grad_few_channels(CachingAllocator& memory, const T* x, const T* g, T* w, const ConvSize& size) {
  const Padded<T> padded(memory, x, size);
  const std::int64_t m = size.kh * size.kw * size.i;
  Scratch turned(memory, sizeof(T) * static_cast<std::size_t>(m * size.o));
  const auto panel_of = [&](const KBlock& block, std::int64_t column, std::int64_t width, T* buffer) {
    const T* from = g + (block.tap * size.ow + block.first) * size.o + column;
    if (width == kernels<T>().columns) return Panel<T>{from, size.o};
    kernels<T>().pack_rows(from, size.o, block.length(), width, buffer);
    return Panel<T>{buffer, kernels<T>().columns};
  };
  gemm_few_rows<T>(memory, {m, size.o, size.n * size.oh, size.ow}, WindowColumns<T>{padded, size}, panel_of,
                   matrix_c(turned.as<T>(), size.o));
  for (std::int64_t o = 0; o < size.o; ++o)
    for (std::int64_t i = 0; i < m; ++i) w[o * m + i] = turned.as<T>()[i * size.o + o];
}

template <class T>
void weight_grad(CachingAllocator& memory, In x_in, In g_in, Out w_out, const ConvSize& size) {
  const T *x = x_in.as<T>(), *g = g_in.as<T>();
  T* w = w_out.as<T>();
  if (w_out.shape.elements() == 0) return;
  if constexpr (std::is_same_v<T, float>)
    if (winograd_pays_for_weights(size)) return winograd_weight_grad(memory, x, g, w, size);
  const std::int64_t pixels = size.n * size.oh * size.ow, columns = size.kh * size.kw * size.i;
  if (pixels == 0) return static_cast<void>(std::fill_n(w, size.o * columns, T(0)));
  if (size.i <= kFewChannels) return weight_grad_few_channels(memory, x, g, w, size);
  const bool windows_are_pixels = size.pixelwise() && size.conv.stride_h == 1 && size.conv.stride_w == 1;
  for (std::int64_t o = 0; o < size.o; o += kFewRows) {
    const std::int64_t rows = std::min(kFewRows, size.o - o);
    // What only one tile of rows meets is not worth packing.
    const bool in_place = windows_are_pixels && rows <= kernels<T>().rows;
    const auto panel_of = [&](const KBlock& block, std::int64_t column, std::int64_t width, T* buffer) {
      if (in_place && width == kernels<T>().columns)
        return Panel<T>{x + block.first * size.i + column, size.i};
      pack_windows(x, size, block.first, block.count, column, width, buffer);
      return Panel<T>{buffer, kernels<T>().columns};
    };
    gemm_few_rows<T>(memory, {rows, columns, 1, pixels}, MatrixRows<T>{g + o, 1, size.o}, panel_of,
                     matrix_c(w + o * columns, columns));
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
