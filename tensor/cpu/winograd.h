// 3x3 convolutions with stride 1 in float by Winograd's F(4x4, 3x3): a quarter of the products, for an error
// of a few 1e-6 of the largest result. Double never comes here.
#pragma once

#include "tensor/cpu/conv_rows.h"

namespace om::cpu {

/// The shapes that these functions take, and on which they are faster than the plain product.
bool winograd_pays(const ConvSize& size);
bool winograd_pays_for_weights(const ConvSize& size);

/// The three kernels of tensor/backend.h.
void winograd_conv2d(CachingAllocator& memory, const float* x, const float* w, float* y,
                     const ConvSize& size);
void winograd_input_grad(CachingAllocator& memory, const float* g, const float* w, float* x,
                         const ConvSize& size);
void winograd_weight_grad(CachingAllocator& memory, const float* x, const float* g, float* w,
                          const ConvSize& size);

/// The 4x4 pieces of a result [n, h, w]: piece t covers rows and columns from (top, left) of image n.
struct Pieces {
  std::int64_t n, h, w;

  std::int64_t high() const { return (h + 3) / 4; }
  std::int64_t wide() const { return (w + 3) / 4; }
  std::int64_t count() const { return n * high() * wide(); }

  struct Piece {
    std::int64_t image, top, left;
  };
  Piece operator[](std::int64_t t) const {
    return {t / wide() / high(), t / wide() % high() * 4, t % wide() * 4};
  }
};

/// Pointers to the size x size pixels of image [n, h, w, channels] whose first one is (top, left) of image
/// `image`; `outside` where there is none.
template <class Pointer>
void point_to_pixels(Pointer image, std::int64_t h, std::int64_t w, std::int64_t channels,
                     const Pieces::Piece& piece, int size, Pointer outside, Pointer* pixels) {
  for (int i = 0; i < size; ++i)
    for (int j = 0; j < size; ++j) {
      const std::int64_t y = piece.top + i, x = piece.left + j;
      const bool inside = y >= 0 && y < h && x >= 0 && x < w;
      *pixels++ = inside ? image + ((piece.image * h + y) * w + x) * channels : outside;
    }
}

}  // namespace om::cpu
