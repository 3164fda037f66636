// The activation's argument u = scale (x - centre) + strength noise + bias + residual, as the channel kernels
// of both directions form it. Only batch norm has a centre, its mean: taken off first, a mean that is large
// beside the deviation costs no accuracy.
#pragma once

#include <cuda_runtime_api.h>

#include "tensor/cuda/channels.h"
#include "tensor/cuda/vector.h"
#include "tensor/fused.h"

namespace om::cuda {

template <class T>
struct ArgumentPointers {
  using C = arithmetic_t<T>;
  const T *x = nullptr, *residual = nullptr;
  Coefficient<C> centre, scale, bias, factor;
  PixelMap<C> noise;
  const C* strength = nullptr;
  C high = 1, low = 1;  // gain, and gain times slope

  /// gain f(u): 0 at minus infinity too where the slope is 0.
  __device__ C activated(C u) const { return u > C{0} ? u * high : low == C{0} && u == u ? C{0} : u * low; }

  ArgumentPointers() = default;
  explicit ArgumentPointers(const ChannelKernels::Activation& in)
      : x(in.x.as<T>()),
        residual(in.residual.as<T>()),
        scale(in.scale),
        bias(in.bias),
        factor(in.factor),
        noise(in.noise),
        strength(in.strength.as<C>()),
        high(static_cast<C>(in.gain)),
        low(static_cast<C>(in.gain * in.slope)) {}
};

/// y [N, H, W, C] = gain f(u) factor.
template <class T>
void launch_channel_activation(const ArgumentPointers<T>& in, T* y, const Shape& shape, int multiprocessors,
                               cudaStream_t stream);

#ifdef __CUDACC__

/// The coefficients of one thread's channels in one image.
template <class T, int V>
struct Coefficients {
  using C = arithmetic_t<T>;
  C centre[V], scale[V], bias[V], factor[V], strength;

  __device__ Coefficients(const ArgumentPointers<T>& from, std::int64_t image, std::int64_t channel) {
    from.centre.load(image, channel, C{0}, centre);
    from.scale.load(image, channel, C{1}, scale);
    from.bias.load(image, channel, C{0}, bias);
    from.factor.load(image, channel, C{1}, factor);
    strength = from.noise.data != nullptr ? *from.strength : C{0};
  }

  /// u of a pixel from x there; at: the first element's offset.
  __device__ void argument(const ArgumentPointers<T>& from, std::int64_t image, std::int64_t pixel,
                           std::int64_t at, const C (&x)[V], C (&u)[V]) const {
    const C shift =
        from.noise.data != nullptr ? strength * from.noise.data[image * from.noise.step + pixel] : C{0};
#pragma unroll
    for (int k = 0; k < V; ++k) u[k] = (x[k] - centre[k]) * scale[k] + shift + bias[k];
    if (from.residual == nullptr) return;
    C residual[V];
    load<V>(from.residual + at, residual);
#pragma unroll
    for (int k = 0; k < V; ++k) u[k] += residual[k];
  }
};

#endif

}  // namespace om::cuda
