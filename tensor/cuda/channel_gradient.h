// One pass over g that serves the activation's gradient (channel_gradient.cu) and batch norm's
// (batch_norm.cu): h, what is formed from it in place, and its sums over pixels and channels.
//
// h = g factor (u > 0 ? high : low), the sign of u known from y, or formed again, or not wanted.
#pragma once

#include "tensor/cuda/channel_argument.h"
#include "tensor/cuda/channel_sums.h"
#include "tensor/cuda/cuda_backend.h"

namespace om::cuda {

enum class Sign : std::uint8_t { unwanted, of_y, of_argument };

template <class T>
struct GradientPointers {
  using C = arithmetic_t<T>;
  const T *g = nullptr, *y = nullptr;
  ArgumentPointers<T> in;
  Coefficient<C> a, b, c;  // x_gradient = a h + b (x - in.centre) + c; the second sum is of h (x - in.centre)
  T *x_gradient = nullptr, *h = nullptr;
  C* map = nullptr;
  double* parts = nullptr;  // [images, chunks, sums, C]: of h, h (x - in.centre), g gain f(u)
  int sums = 0;
};

/// Launches the pass; layout.chunks says how many parts it writes.
template <class T>
void launch_channel_gradient(const GradientPointers<T>& pointers, const ChannelLayout& layout, bool vectors,
                             cudaStream_t stream);

/// The layout for that pass, and whether threads take vectors of channels.
template <class T>
std::pair<ChannelLayout, bool> gradient_layout(const GradientPointers<T>& p, std::int64_t images,
                                               std::int64_t pixels, std::int64_t channels,
                                               int multiprocessors) {
  const bool vectors =
      channels % kVector<T> == 0 && aligned(16, p.g, p.y, p.in.x, p.in.residual, p.x_gradient, p.h);
  return {ChannelLayout(images, pixels, channels, vectors ? kVector<T> : 1, 32, multiprocessors), vectors};
}

}  // namespace om::cuda
