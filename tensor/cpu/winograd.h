// Convolutions in float by Winograd's algorithms: 3x3 with stride 1 (a quarter of the products) and 3x3 with
// stride 2 (a bit more than half of them), for an error of a few 1e-6 of the largest result. Double never
// comes here.
//
// With stride 2, rows and columns of the image are even or odd. The weights fall into four parts to match, of
// 2x2, 2x1, 1x2 and 1x1 taps; each meets one part of the image, with stride 1.
//
// winograd.cpp has the convolution and its input gradient, winograd_weights.cpp the weight gradient, both on
// winograd_products.h; winograd_body.h the transforms.
#pragma once

#include "tensor/cpu/conv_rows.h"

namespace om::cpu {

/// The shapes on which the functions below exist and are faster than the plain product.
bool winograd_pays(const ConvSize& size);
bool winograd_pays_for_weights(const ConvSize& size);

/// The three kernels of tensor/backend.h.
void winograd_conv2d(CachingAllocator& memory, const float* x, const float* w, float* y,
                     const ConvSize& size);
void winograd_input_grad(CachingAllocator& memory, const float* g, const float* w, float* x,
                         const ConvSize& size);
void winograd_weight_grad(CachingAllocator& memory, const float* x, const float* g, float* w,
                          const ConvSize& size);

/// Every step-th pixel of the images [n, h, w, channels] at `data`, from (first_h, first_w) on: a grid
/// [count_h, count_w] per image.
template <class T>
struct Lattice {
  T* data;
  std::int64_t h, w, channels;
  std::int64_t first_h, first_w, count_h, count_w, step;

  static Lattice all(T* data, std::int64_t h, std::int64_t w, std::int64_t channels) {
    return {data, h, w, channels, 0, 0, h, w, 1};
  }

  /// Pointers to the high x wide pixels from (top, left) on; `outside` where there is none.
  void point(std::int64_t image, std::int64_t top, std::int64_t left, int high, int wide, T* outside,
             T** pixels) const {
    const std::int64_t down = step * w * channels, right = step * channels;
    const std::int64_t begin = (image * h + first_h) * w * channels + first_w * channels;
    const bool whole = top >= 0 && left >= 0 && top + high <= count_h && left + wide <= count_w;
    for (std::int64_t i = top; i < top + high; ++i)
      for (std::int64_t j = left; j < left + wide; ++j) {
        const bool inside = whole || (i >= 0 && i < count_h && j >= 0 && j < count_w);
        *pixels++ = inside ? data + begin + i * down + j * right : outside;
      }
  }
};

/// The high x wide pieces of `n` results [h, w].
struct Pieces {
  std::int64_t n, h, w;
  int high, wide;

  std::int64_t down() const { return (h + high - 1) / high; }
  std::int64_t across() const { return (w + wide - 1) / wide; }
  std::int64_t count() const { return n * down() * across(); }

  struct Piece {
    std::int64_t image, top, left;
  };
  Piece operator[](std::int64_t t) const {
    return {t / across() / down(), t / across() % down() * high, t % across() * wide};
  }
};

/// The taps of 3x3 weights that a part of an image meets: all, or every second one from (phase_h, phase_w)
/// on.
struct WinogradTaps {
  const WinogradScheme* scheme;
  std::int64_t phase_h, phase_w;

  bool has_plane(int i, int j) const { return i < scheme->in_h && j < scheme->in_w; }
  /// The number in 3x3 of tap (r, s).
  std::int64_t number(std::int64_t r, std::int64_t s) const {
    const std::int64_t step = scheme->taps_h == 3 ? 1 : 2;
    return 3 * (phase_h + step * r) + phase_w + step * s;
  }
};

/// A part of an image or a result. A piece begins (top, left) from its place among the pieces.
template <class T>
struct WinogradPart {
  WinogradTaps taps;
  Lattice<T> pixels;
  std::int64_t top, left;

  /// Pointers to the high x wide pixels of a piece.
  void point(const Pieces::Piece& piece, int high, int wide, T* outside, T** pointers) const {
    pixels.point(piece.image, piece.top + top, piece.left + left, high, wide, outside, pointers);
  }
};

/// The parts of x: one for stride 1, four for stride 2, whose schemes are WinogradKernels::together or alone.
/// Together, the smaller parts lack planes of the largest. The four come in such an order that for every
/// plane the parts that have it are neighbours, so that their channels are one range of k.
std::vector<WinogradPart<const float>> parts_of_image(const float* x, const ConvSize& size, bool together);

}  // namespace om::cpu
