// DistanceKernels for the cpu: a pixel's channels are read twice, from the cache the second time.
#include <cmath>

#include "tensor/cpu/channel.h"
#include "tensor/cpu/cpu_backend.h"

namespace om {
namespace cpu {
namespace {

/// A pixel's features and what divides them.
template <class T>
struct Pixel {
  using C = Computed<T>;

  Pixel(const T* x, std::int64_t channels) : x(x) {
    double energy = 0;
#pragma omp simd reduction(+ : energy)
    for (std::int64_t c = 0; c < channels; ++c) {
      const double value = static_cast<double>(load(x[c]));
      energy += value * value;
    }
    norm = static_cast<C>(std::sqrt(energy));
    t = norm == 0 ? C{0} : 1 / (norm + static_cast<C>(1e-10));
  }

  /// Channel c of a^ - b^, in a form that is exactly 0 where a = b, whatever the compiler contracts.
  C minus(const Pixel& b, std::int64_t c) const {
    return (load(x[c]) - load(b.x[c])) * t + load(b.x[c]) * (t - b.t);
  }

  const T* x;
  C norm, t;
};

template <class T>
void distance(const DistanceKernels::Distance& in, Out distances) {
  using C = Computed<T>;
  const Tiling tiling(in.a.shape);
  const std::int64_t channels = tiling.channels;
  const C* weights = in.weights.as<C>();
  std::vector<double> parts(static_cast<std::size_t>(tiling.tiles()));
  tiling.for_each([&](std::int64_t i, std::int64_t n, std::int64_t first, std::int64_t last) {
    double total = 0;
    for (std::int64_t p = n * tiling.pixels + first; p < n * tiling.pixels + last; ++p) {
      const Pixel<T> a(in.a.as<T>() + p * channels, channels), b(in.b.as<T>() + p * channels, channels);
#pragma omp simd reduction(+ : total)
      for (std::int64_t c = 0; c < channels; ++c) {
        const C d = a.minus(b, c);
        total += static_cast<double>(d * d * weights[c]);
      }
    }
    parts[static_cast<std::size_t>(i)] = total;
  });
  for (std::int64_t n = 0; n < tiling.images; ++n) {
    double total = 0;
    for (std::int64_t i = n * tiling.per_image; i < (n + 1) * tiling.per_image; ++i)
      total += parts[static_cast<std::size_t>(i)];
    distances.as<C>()[n] = static_cast<C>(total / static_cast<double>(tiling.pixels));
  }
}

/// t q - t^2 (q . x) x / |x|.
template <class T, class C>
void write_gradient(const Pixel<T>& x, const C* q, C sign, T* gradient, std::int64_t channels) {
  double dot = 0;
#pragma omp simd reduction(+ : dot)
  for (std::int64_t c = 0; c < channels; ++c)
    dot += static_cast<double>(q[c]) * static_cast<double>(load(x.x[c]));
  const C along = x.norm == 0 ? C{0} : sign * static_cast<C>(dot) * x.t * x.t / x.norm, across = sign * x.t;
#pragma omp simd
  for (std::int64_t c = 0; c < channels; ++c) store(gradient[c], across * q[c] - along * load(x.x[c]));
}

template <class T>
void distance_grad(const DistanceKernels::Distance& in, In g, Out a_gradient, Out b_gradient) {
  using C = Computed<T>;
  const Tiling tiling(in.a.shape);
  const std::int64_t channels = tiling.channels;
  const C* weights = in.weights.as<C>();
  tiling.for_each([&](std::int64_t, std::int64_t n, std::int64_t first, std::int64_t last) {
    thread_local std::vector<C> room;
    room.resize(static_cast<std::size_t>(channels));
    C* q = room.data();
    const C factor = 2 * g.as<C>()[n] / static_cast<C>(tiling.pixels);
    for (std::int64_t p = n * tiling.pixels + first; p < n * tiling.pixels + last; ++p) {
      const Pixel<T> a(in.a.as<T>() + p * channels, channels), b(in.b.as<T>() + p * channels, channels);
#pragma omp simd
      for (std::int64_t c = 0; c < channels; ++c) q[c] = factor * weights[c] * a.minus(b, c);
      if (T* out = at<T>(a_gradient, p * channels); out != nullptr)
        write_gradient<T, C>(a, q, C{1}, out, channels);
      if (T* out = at<T>(b_gradient, p * channels); out != nullptr)
        write_gradient<T, C>(b, q, C{-1}, out, channels);
    }
  });
}

}  // namespace
}  // namespace cpu

void CpuBackend::feature_distance(const Distance& inputs, Out distance) {
  dispatch_floating("feature_distance", inputs.a.dtype,
                    [&]<class T>(Type<T>) { cpu::distance<T>(inputs, distance); });
}

void CpuBackend::feature_distance_grad(const Distance& inputs, In g, Out a_gradient, Out b_gradient) {
  dispatch_floating("feature_distance_grad", inputs.a.dtype,
                    [&]<class T>(Type<T>) { cpu::distance_grad<T>(inputs, g, a_gradient, b_gradient); });
}

}  // namespace om
