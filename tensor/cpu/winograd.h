// Convolutions in float by Winograd's algorithms: 3x3 with stride 1 (a quarter of the products) and 3x3 with
// stride 2 (a bit more than half of them), for an error of a few 1e-6 of the largest result. Double never
// comes here.
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
    for (std::int64_t i = top; i < top + high; ++i)
      for (std::int64_t j = left; j < left + wide; ++j) {
        const bool inside = i >= 0 && i < count_h && j >= 0 && j < count_w;
        const std::int64_t y = first_h + i * step, x = first_w + j * step;
        *pixels++ = inside ? data + ((image * h + y) * w + x) * channels : outside;
      }
  }
};

/// The high x wide pieces of a result [n, h, w].
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

}  // namespace om::cpu
