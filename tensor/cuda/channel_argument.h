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

/// What memory holds of u at one pixel. Loaded for several pixels before the first of them is used: between a
/// load and its use nothing is stored, which the compiler could not move the load across.
template <class T, int V>
struct ArgumentOperands {
  Packed<T, V> x, residual;
  arithmetic_t<T> noise;

  __device__ __forceinline__ void load(const ArgumentPointers<T>& from, std::int64_t image,
                                       std::int64_t pixel, std::int64_t at) {
    x = load_packed<V>(from.x + at);
    load_added(from, image, pixel, at);
  }
  /// All but x, which the caller has set.
  __device__ __forceinline__ void load_added(const ArgumentPointers<T>& from, std::int64_t image,
                                             std::int64_t pixel, std::int64_t at) {
    if (from.residual != nullptr) residual = load_packed<V>(from.residual + at);
    if (from.noise.data != nullptr) noise = from.noise.data[image * from.noise.step + pixel];
  }
};

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

  __device__ __forceinline__ void argument(const ArgumentPointers<T>& from,
                                           const ArgumentOperands<T, V>& operands, C (&u)[V]) const {
    const C shift = from.noise.data != nullptr ? strength * operands.noise : C{0};
    unpack(operands.x, u);
#pragma unroll
    for (int k = 0; k < V; ++k) u[k] = (u[k] - centre[k]) * scale[k] + shift + bias[k];
    if (from.residual == nullptr) return;
    C residual[V];
    unpack(operands.residual, residual);
#pragma unroll
    for (int k = 0; k < V; ++k) u[k] += residual[k];
  }
};

#endif

}  // namespace om::cuda
