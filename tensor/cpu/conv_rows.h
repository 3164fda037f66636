// A convolution's rows for the matrix product: row m is one output pixel, and for each tap of the window it
// points to the channels of the input pixel under that tap, or to zeros outside the image. With few channels
// (RGB) such pieces are too short to be worth a pointer; then x is copied with its zeros around it, where a
// row of the window is kw i contiguous numbers. Windows that begin a fixed step apart need no pointers at all
// (Kernels::multiply_windows); WindowPanels packs what they are multiplied with.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "tensor/backend.h"
#include "tensor/cpu/kernels.h"
#include "tensor/cpu/parallel.h"
#include "tensor/scratch.h"

namespace om::cpu {

/// One position of the window: its offset from the window's origin, and its number (r kW + s) in the weights.
struct Tap {
  std::int64_t h, w, weight;
};

/// visit(i, run, n, a, b) for every run of pixels (n, a, b), (n, a, b + 1), .. that share a line, among the
/// pixels [first, first + count) of images [n, h, w]; i counts them from 0.
template <class Visit>
void walk_lines(std::int64_t first, std::int64_t count, std::int64_t h, std::int64_t w, const Visit& visit) {
  for (std::int64_t i = 0; i < count;) {
    const std::int64_t pixel = first + i, b = pixel % w, run = std::min(w - b, count - i);
    visit(i, run, pixel / w / h, pixel / w % h, b);
    i += run;
  }
}

/// The pixels of a grid [grid_h, grid_w] per image; pixel (a, b) has its window's origin at (origin_h + a
/// step_h, origin_w + b step_w) in the image [N, h, w, channels].
template <class T>
struct ImageRows {
  struct Row {
    const T* image;
    std::int64_t h, w;
  };

  const T* image;
  std::int64_t h, w, channels;
  std::int64_t grid_h, grid_w;
  std::int64_t origin_h, origin_w, step_h, step_w;
  const Tap* taps;
  const T* zeros;  ///< `channels` of them

  void start(std::int64_t first, std::int64_t count, Row* states) const {
    walk_lines(first, count, grid_h, grid_w,
               [&](std::int64_t i, std::int64_t run, std::int64_t n, std::int64_t a, std::int64_t b) {
                 for (std::int64_t j = 0; j < run; ++j)
                   states[i + j] = {image + n * h * w * channels, origin_h + a * step_h,
                                    origin_w + (b + j) * step_w};
               });
  }
  const T* at(const Row& row, std::int64_t tap) const {
    const std::int64_t y = row.h + taps[tap].h, x = row.w + taps[tap].w;
    const bool inside = static_cast<std::uint64_t>(y) < static_cast<std::uint64_t>(h) &&
                        static_cast<std::uint64_t>(x) < static_cast<std::uint64_t>(w);
    return inside ? row.image + (y * w + x) * channels : zeros;
  }
  std::int64_t step() const { return 1; }
  static bool clash(std::int64_t) { return false; }
};

/// Sizes of conv2d with x [n, h, w, i], weights [o, kh, kw, i], y [n, oh, ow, o].
struct ConvSize {
  ConvSize(const Shape& x, const Shape& weights, const Shape& y, const Conv2dParams& params)
      : n(x[0]),
        h(x[1]),
        w(x[2]),
        i(x[3]),
        o(weights[0]),
        kh(weights[1]),
        kw(weights[2]),
        oh(y[1]),
        ow(y[2]),
        conv(params) {}

  /// Windows are single pixels of x, all of them inside.
  bool pixelwise() const { return kh == 1 && kw == 1 && conv.pad_h == 0 && conv.pad_w == 0; }

  std::int64_t n, h, w, i, o, kh, kw, oh, ow;
  Conv2dParams conv;
};

constexpr std::int64_t kFewChannels = 4;
constexpr std::int64_t kShortLine = 16;  // of pixels: shorter ones do not fill the tiles of multiply_windows

/// For Kernels::multiply_windows: B [k, n], element (i, j) being at(i, j), in panels of its width.
template <class T>
class WindowPanels {
 public:
  template <class At>
  WindowPanels(CachingAllocator& memory, std::int64_t k, std::int64_t n, const At& at)
      : k_(k),
        count_((n + width - 1) / width),
        packed_(memory, sizeof(T) * static_cast<std::size_t>(count_ * k * width)) {
    T* to = packed_.template as<T>();
    for (std::int64_t first = 0; first < n; first += width)
      for (std::int64_t i = 0; i < k; ++i)
        for (std::int64_t j = first; j < first + width; ++j) *to++ = j < n ? at(i, j) : T(0);
  }
  std::int64_t count() const { return count_; }
  const T* operator[](std::int64_t panel) const { return packed_.template as<T>() + panel * k_ * width; }

  const std::int64_t width = kernels<T>().window_columns;

 private:
  std::int64_t k_, count_;
  Scratch packed_;
};

/// x with its zeros around it; x itself where the convolution has no padding.
template <class T>
class Padded {
 public:
  Padded(CachingAllocator& memory, const T* x, const ConvSize& size)
      : h(size.h + 2 * size.conv.pad_h), line((size.w + 2 * size.conv.pad_w) * size.i), data(x) {
    if (size.conv.pad_h == 0 && size.conv.pad_w == 0) return;
    copy_.emplace(memory, sizeof(T) * static_cast<std::size_t>(size.n * h * line));
    T* out = copy_->template as<T>();
    data = out;
    const std::int64_t left = size.conv.pad_w * size.i, inner = size.w * size.i;
    parallel_tiles(size.n * h, 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const std::int64_t y = row % h - size.conv.pad_h;
        T* to = out + row * line;
        if (y < 0 || y >= size.h) {
          std::fill_n(to, line, T(0));
          continue;
        }
        std::fill_n(to, left, T(0));
        std::copy_n(x + (row / h * size.h + y) * inner, inner, to + left);
        std::fill_n(to + left + inner, left, T(0));
      }
    });
  }

  std::int64_t h, line;  ///< [n, h, line]
  const T* data;

 private:
  std::optional<Scratch> copy_;
};

/// Row m is number m of every window, a tap one row of output pixels.
template <class T>
struct WindowColumns {
  using Row = const T*;
  const Padded<T>& x;
  const ConvSize& size;

  void start(std::int64_t first, std::int64_t count, Row* states) const {
    const std::int64_t width = size.kw * size.i;
    for (std::int64_t m = first; m < first + count; ++m) *states++ = x.data + m / width * x.line + m % width;
  }
  const T* at(Row row, std::int64_t tap) const {
    return row + (tap / size.oh * x.h + tap % size.oh * size.conv.stride_h) * x.line;
  }
  std::int64_t step() const { return size.conv.stride_w * size.i; }
  static bool clash(std::int64_t) { return false; }
};

/// One dimension of a convolution with a stride falls into phases: tap r = phase + j stride meets the pixels
/// first, first + stride, .. of x alone, namely pixel number a (of `count`) with result number a + origin -
/// j.
struct Phase {
  Phase(std::int64_t phase, std::int64_t stride, std::int64_t pad, std::int64_t size)
      : first(((phase - pad) % stride + stride) % stride),
        count(first < size ? (size - first + stride - 1) / stride : 0),
        origin((first + pad - phase) / stride) {}

  std::int64_t first, count, origin;
};

/// The pixels of x in the phases h and v, as rows of a product.
template <class T>
auto phase_c(T* x, const ConvSize& size, const Phase& h, const Phase& v) {
  return [=, &size](std::int64_t first, std::int64_t count, T** c) {
    const std::int64_t down = size.conv.stride_h * size.w * size.i, right = size.conv.stride_w * size.i;
    walk_lines(first, count, h.count, v.count,
               [&](std::int64_t i, std::int64_t run, std::int64_t n, std::int64_t a, std::int64_t b) {
                 T* pixel = x + ((n * size.h + h.first) * size.w + v.first) * size.i + a * down + b * right;
                 for (std::int64_t j = 0; j < run; ++j) c[i + j] = pixel + j * right;
               });
  };
}

}  // namespace om::cpu
