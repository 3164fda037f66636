// LPIPS's normalise and difference: G lanes of a warp take a pixel, first its two norms, then the weighted
// sum, over channels that the second time come from the cache.
#include <algorithm>

#include "tensor/cuda/check.h"
#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/vector.h"

namespace om::cuda {
namespace {

constexpr int kBlock = 256;

template <class T>
struct Features {
  using C = arithmetic_t<T>;
  const T *a, *b;
  const C* weights;
  std::int64_t images, pixels, channels;
};

/// 1 / (|x| + 1e-10), 0 where |x| = 0.
template <class C>
__device__ C inverse_norm(C energy) {
  return energy == C{0} ? C{0} : C{1} / (sqrt(energy) + C(1e-10));
}

/// The sum over the G lanes of a pixel, in each of them.
template <int G, class C>
__device__ __forceinline__ C lanes_sum(C value) {
#pragma unroll
  for (int half = G / 2; half > 0; half /= 2) value += __shfl_xor_sync(0xffffffffU, value, half);
  return value;
}

template <class T, int V, int G>
struct Pixel {
  using C = arithmetic_t<T>;
  std::int64_t at;  // the lane's first element
  C energy_a = 0, energy_b = 0, inverse_a, inverse_b;

  __device__ Pixel(const Features<T>& f, std::int64_t place, int lane) : at(place * f.channels + lane * V) {
    for (std::int64_t c = lane * V; c < f.channels; c += G * V) {
      C a[V], b[V];
      values(f, c, lane, a, b);
#pragma unroll
      for (int k = 0; k < V; ++k) {
        energy_a += a[k] * a[k];
        energy_b += b[k] * b[k];
      }
    }
    energy_a = lanes_sum<G>(energy_a);
    energy_b = lanes_sum<G>(energy_b);
    inverse_a = inverse_norm(energy_a);
    inverse_b = inverse_norm(energy_b);
  }
  /// a^ - b^ of one channel; exactly 0 where the pixels are equal.
  __device__ C difference(C a, C b) const { return (a - b) * inverse_a + b * (inverse_a - inverse_b); }
  __device__ void values(const Features<T>& f, std::int64_t c, int lane, C (&a)[V], C (&b)[V]) const {
    load<V>(f.a + at + (c - lane * V), a);
    load<V>(f.b + at + (c - lane * V), b);
  }
};

/// parts[image][chunk]: a block's share of an image's pixels.
template <class T, int V, int G>
__global__ void __launch_bounds__(kBlock) distance_kernel(Features<T> f, double* parts, int chunks) {
  using C = arithmetic_t<T>;
  constexpr int kTeams = kBlock / G;
  __shared__ double shared[kTeams];
  const int lane = static_cast<int>(threadIdx.x) % G, team = static_cast<int>(threadIdx.x) / G;
  for (std::int64_t work = blockIdx.x; work < f.images * chunks; work += gridDim.x) {
    const std::int64_t image = work / chunks, chunk = work % chunks;
    double total = 0;
    // Whole warps walk together, since they shuffle; what lies beyond the image is its last pixel again.
    for (std::int64_t base = chunk * kTeams; base < f.pixels;
         base += static_cast<std::int64_t>(chunks) * kTeams) {
      const std::int64_t pixel = min(base + team, f.pixels - 1);
      const Pixel<T, V, G> at(f, image * f.pixels + pixel, lane);
      C sum = 0;
      for (std::int64_t c = lane * V; c < f.channels; c += G * V) {
        C a[V], b[V];
        at.values(f, c, lane, a, b);
#pragma unroll
        for (int k = 0; k < V; ++k) {
          const C d = at.difference(a[k], b[k]);
          sum += f.weights[c + k] * d * d;
        }
      }
      sum = lanes_sum<G>(sum);
      if (base + team < f.pixels) total += static_cast<double>(sum);
    }
    if (lane == 0) shared[team] = total;
    __syncthreads();
    if (threadIdx.x == 0) {
      double sum = 0;
      for (const double share : shared) sum += share;
      parts[work] = sum;
    }
    __syncthreads();
  }
}

template <class C>
__global__ void join_kernel(const double* parts, C* distance, int chunks, double pixels) {
  double sum = 0;
  for (int chunk = static_cast<int>(threadIdx.x); chunk < chunks; chunk += 32)
    sum += parts[blockIdx.x * static_cast<std::int64_t>(chunks) + chunk];
  sum = warp_sum(sum);
  if (threadIdx.x == 0) distance[blockIdx.x] = static_cast<C>(sum / pixels);
}

template <class T, int V, int G>
__global__ void __launch_bounds__(kBlock)
    gradient_kernel(Features<T> f, const arithmetic_t<T>* g, T* a_gradient, T* b_gradient) {
  using C = arithmetic_t<T>;
  constexpr int kTeams = kBlock / G;
  const int lane = static_cast<int>(threadIdx.x) % G, team = static_cast<int>(threadIdx.x) / G;
  const std::int64_t places = f.images * f.pixels;
  for (std::int64_t base = static_cast<std::int64_t>(blockIdx.x) * kTeams; base < places;
       base += static_cast<std::int64_t>(gridDim.x) * kTeams) {
    const std::int64_t place = min(base + team, places - 1);
    const Pixel<T, V, G> at(f, place, lane);
    const C factor = C{2} * g[place / f.pixels] / static_cast<C>(f.pixels);
    C q_a = 0, q_b = 0;  // q . a and q . b
    for (std::int64_t c = lane * V; c < f.channels; c += G * V) {
      C a[V], b[V];
      at.values(f, c, lane, a, b);
#pragma unroll
      for (int k = 0; k < V; ++k) {
        const C q = factor * f.weights[c + k] * at.difference(a[k], b[k]);
        q_a += q * a[k];
        q_b += q * b[k];
      }
    }
    q_a = lanes_sum<G>(q_a);
    q_b = lanes_sum<G>(q_b);
    const auto along = [](C inverse, C energy, C product) {
      return energy == C{0} ? C{0} : inverse * inverse * product / sqrt(energy);
    };
    const C along_a = along(at.inverse_a, at.energy_a, q_a), along_b = along(at.inverse_b, at.energy_b, q_b);
    if (base + team >= places) continue;
    for (std::int64_t c = lane * V; c < f.channels; c += G * V) {
      C a[V], b[V], of_a[V], of_b[V];
      at.values(f, c, lane, a, b);
#pragma unroll
      for (int k = 0; k < V; ++k) {
        const C q = factor * f.weights[c + k] * at.difference(a[k], b[k]);
        of_a[k] = at.inverse_a * q - along_a * a[k];
        of_b[k] = along_b * b[k] - at.inverse_b * q;
      }
      const std::int64_t to = place * f.channels + c;
      if (a_gradient != nullptr) store<V>(a_gradient + to, of_a);
      if (b_gradient != nullptr) store<V>(b_gradient + to, of_b);
    }
  }
}

template <class T>
Features<T> features_of(const DistanceKernels::Distance& in) {
  const Shape& shape = in.a.shape;
  return {in.a.as<T>(), in.b.as<T>(),        in.weights.as<arithmetic_t<T>>(),
          shape[0],     shape[1] * shape[2], shape[3]};
}

/// Calls body with how many channels a lane takes at once, and how many lanes a pixel.
template <class T, class Body>
void dispatch_lanes(std::int64_t channels, bool vectors, Body&& body) {
  constexpr std::integral_constant<int, 1> one;
  constexpr std::integral_constant<int, kVector<T>> several;
  constexpr std::integral_constant<int, 8> eight;
  constexpr std::integral_constant<int, 16> sixteen;
  constexpr std::integral_constant<int, 32> warp;
  if (!vectors) return body(one, warp);
  const std::int64_t lanes = channels / kVector<T>;
  if (lanes <= 8) return body(several, eight);
  if (lanes <= 16) return body(several, sixteen);
  body(several, warp);
}

}  // namespace

void CudaBackend::feature_distance(const Distance& in, Out distance) {
  const Ordered order(*this, {in.a, in.b, in.weights}, {distance});
  if (distance.shape.elements() == 0) return;
  if (in.a.shape.elements() == 0) return fill(distance, 0);
  dispatch_floating("cuda feature_distance", in.a.dtype, [&]<class T>(Type<T>) {
    using C = arithmetic_t<T>;
    const Features<T> f = features_of<T>(in);
    const std::int64_t most = std::max<std::int64_t>(1, 16 * multiprocessors_ / f.images);
    const auto chunks = static_cast<int>(std::clamp<std::int64_t>((f.pixels + 15) / 16, 1, most));
    const Scratch parts(*this, static_cast<std::size_t>(f.images * chunks) * sizeof(double));
    auto* const to = static_cast<double*>(parts.data());
    dispatch_lanes<T>(f.channels, f.channels % kVector<T> == 0 && aligned(16, f.a, f.b),
                      [&]<int V, int G>(std::integral_constant<int, V>, std::integral_constant<int, G>) {
                        distance_kernel<T, V, G>
                            <<<static_cast<unsigned>(f.images * chunks), kBlock, 0, stream_>>>(f, to, chunks);
                      });
    join_kernel<C><<<static_cast<unsigned>(f.images), 32, 0, stream_>>>(to, distance.as<C>(), chunks,
                                                                        static_cast<double>(f.pixels));
  });
  check_launch("feature_distance");
}

void CudaBackend::feature_distance_grad(const Distance& in, In g, Out a_gradient, Out b_gradient) {
  const Ordered order(*this, {in.a, in.b, in.weights, g}, {a_gradient, b_gradient});
  if (in.a.shape.elements() == 0) return;
  dispatch_floating("cuda feature_distance_grad", in.a.dtype, [&]<class T>(Type<T>) {
    using C = arithmetic_t<T>;
    const Features<T> f = features_of<T>(in);
    const bool vectors =
        f.channels % kVector<T> == 0 && aligned(16, f.a, f.b, a_gradient.data, b_gradient.data);
    dispatch_lanes<T>(
        f.channels, vectors,
        [&]<int V, int G>(std::integral_constant<int, V>, std::integral_constant<int, G>) {
          const std::int64_t blocks = (f.images * f.pixels * G + kBlock - 1) / kBlock;
          gradient_kernel<T, V, G>
              <<<static_cast<unsigned>(std::min<std::int64_t>(blocks, 1 << 20)), kBlock, 0, stream_>>>(
                  f, g.as<C>(), a_gradient.as<T>(), b_gradient.as<T>());
        });
  });
  check_launch("feature_distance_grad");
}

}  // namespace om::cuda
