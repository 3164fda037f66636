// Batch normalisation by the statistics of x itself, with residual and activation, and its gradient: each two
// passes over memory, sums then results.
#include "tensor/cuda/channel_gradient.h"
#include "tensor/cuda/check.h"

namespace om::cuda {
namespace {

constexpr int kUnrolled = 4;

/// parts[chunk][2][C]: sums of x - s and of its square, s the channel's first element, which keeps their
/// difference accurate where the mean is large beside the deviation.
template <class T, int V>
__global__ void __launch_bounds__(kChannelThreads)
    moments_kernel(const T* x, double* parts, ChannelLayout layout) {
  using C = arithmetic_t<T>;
  __shared__ C shared[kChannelThreads * V];
  const int thread = static_cast<int>(threadIdx.x);
  const int group = static_cast<int>(blockIdx.y) * layout.block_groups + thread % layout.block_groups;
  const int row = thread / layout.block_groups;
  const bool owner = group < layout.groups && row < layout.rows;
  const std::int64_t channel = owner ? static_cast<std::int64_t>(group) * V : 0;
  C shift[V];
  load<V>(x + channel, shift);
  for (std::int64_t work = blockIdx.x; work < layout.work(); work += gridDim.x) {
    C sum[V] = {}, square[V] = {};
    const std::int64_t first = work * layout.rows * layout.steps + row;
    for (int step = 0; step < layout.steps; step += kUnrolled) {
      C value[kUnrolled][V];
#pragma unroll
      for (int k = 0; k < kUnrolled; ++k) {
        const std::int64_t pixel = first + static_cast<std::int64_t>(step + k) * layout.rows;
        if (owner && pixel < layout.pixels) {
          load<V>(x + pixel * layout.channels + channel, value[k]);
        } else {
#pragma unroll
          for (int i = 0; i < V; ++i) value[k][i] = shift[i];
        }
      }
#pragma unroll
      for (int k = 0; k < kUnrolled; ++k)
#pragma unroll
        for (int i = 0; i < V; ++i) {
          const C d = value[k][i] - shift[i];
          sum[i] += d;
          square[i] += d * d;
        }
    }
    write_part<V>(sum, shared, layout, work, 0, 2, parts);
    write_part<V>(square, shared, layout, work, 1, 2, parts);
  }
}

/// mean, variance and r of a channel, and the scale that r and the weight make.
template <class T>
__global__ void __launch_bounds__(kJoinThreads)
    statistics_kernel(const T* x, const double* parts, int chunks, std::int64_t channels, double count,
                      double eps, const arithmetic_t<T>* weight, arithmetic_t<T>* mean,
                      arithmetic_t<T>* variance, arithmetic_t<T>* r, arithmetic_t<T>* scale) {
  using C = arithmetic_t<T>;
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.x) * kJoinChannels + threadIdx.x;
  const double sum = join_chunks(parts, 0, chunks, 0, 2, channels, channel);
  const double square = join_chunks(parts, 0, chunks, 1, 2, channels, channel);
  if (threadIdx.y != 0 || channel >= channels) return;
  const double from_first = sum / count;
  const double average = static_cast<double>(static_cast<C>(x[channel])) + from_first;
  const double spread = square / count - from_first * from_first;
  const double biased = spread > 0 || spread != spread ? spread : 0;
  const double inverse = 1 / sqrt(biased + eps);
  mean[channel] = static_cast<C>(average);
  variance[channel] = static_cast<C>(biased);
  r[channel] = static_cast<C>(inverse);
  scale[channel] = static_cast<C>(static_cast<double>(weight[channel]) * inverse);
}

/// The weights' gradients from the sums of h and h (x - mean), and the coefficients of x's:
/// w r (h - s1 / M - x^ s2 / M) = a h + b (x - mean) + c.
template <class C>
__global__ void __launch_bounds__(kJoinThreads)
    coefficients_kernel(const double* parts, int chunks, std::int64_t channels, double count, const C* weight,
                        const C* r, C* weight_gradient, C* bias_gradient, C* a, C* b, C* c) {
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.x) * kJoinChannels + threadIdx.x;
  const double s1 = join_chunks(parts, 0, chunks, 0, 2, channels, channel);
  const double centred = join_chunks(parts, 0, chunks, 1, 2, channels, channel);
  if (threadIdx.y != 0 || channel >= channels) return;
  const double inverse = static_cast<double>(r[channel]);
  const double s2 = centred * inverse, factor = static_cast<double>(weight[channel]) * inverse;
  if (weight_gradient != nullptr) weight_gradient[channel] = static_cast<C>(s2);
  if (bias_gradient != nullptr) bias_gradient[channel] = static_cast<C>(s1);
  a[channel] = static_cast<C>(factor);
  b[channel] = static_cast<C>(-factor * inverse * s2 / count);
  c[channel] = static_cast<C>(-factor * s1 / count);
}

unsigned join_blocks(std::int64_t channels) {
  return static_cast<unsigned>((channels + kJoinChannels - 1) / kJoinChannels);
}

}  // namespace

void CudaBackend::batch_norm(const Norm& in) {
  const Ordered order(*this, {in.x, in.weight, in.bias, in.residual}, {in.y, in.mean, in.variance, in.r});
  const Shape& shape = in.x.shape;
  const std::int64_t channels = shape[3], pixels = shape[0] * shape[1] * shape[2];
  if (channels == 0) return;
  dispatch_floating("cuda batch_norm", in.x.dtype, [&]<class T>(Type<T>) {
    using C = arithmetic_t<T>;
    const T* const x = in.x.as<T>();
    const bool vectors = channels % kVector<T> == 0 && aligned(16, x);
    const ChannelLayout layout(1, pixels, channels, vectors ? kVector<T> : 1, 32, multiprocessors_);
    const Scratch room(*this, static_cast<std::size_t>(layout.work() * 2 * channels) * sizeof(double));
    const Scratch coefficients(*this, static_cast<std::size_t>(channels) * sizeof(C));
    auto* const parts = static_cast<double*>(room.data());
    C* const scale = static_cast<C*>(coefficients.data());
    if (vectors)
      moments_kernel<T, kVector<T>><<<layout.grid(), kChannelThreads, 0, stream_>>>(x, parts, layout);
    else
      moments_kernel<T, 1><<<layout.grid(), kChannelThreads, 0, stream_>>>(x, parts, layout);
    statistics_kernel<T><<<join_blocks(channels), dim3(kJoinChannels, kJoinLanes), 0, stream_>>>(
        x, parts, layout.chunks, channels, static_cast<double>(pixels), in.eps, in.weight.as<C>(),
        in.mean.as<C>(), in.variance.as<C>(), in.r.as<C>(), scale);
    check_launch("batch_norm");
    const Shape row{1, 1, 1, channels};
    ArgumentPointers<T> u;
    u.x = x;
    u.residual = in.residual.as<T>();
    u.centre = Coefficient<C>({in.mean.data, dtype_of<C>, row});
    u.scale = Coefficient<C>({scale, dtype_of<C>, row});
    u.bias = Coefficient<C>({in.bias.data, dtype_of<C>, row});
    u.low = static_cast<C>(in.slope);
    launch_channel_activation(u, in.y.as<T>(), shape, multiprocessors_, stream_);
  });
}

void CudaBackend::batch_norm_grad(const NormGradient& in) {
  const Ordered order(*this, {in.g, in.y, in.x, in.weight, in.mean, in.r},
                      {in.x_gradient, in.h, in.weight_gradient, in.bias_gradient});
  const Shape& shape = in.x.shape;
  const std::int64_t channels = shape[3], pixels = shape[0] * shape[1] * shape[2];
  if (channels == 0) return;
  dispatch_floating("cuda batch_norm_grad", in.g.dtype, [&]<class T>(Type<T>) {
    using C = arithmetic_t<T>;
    const Shape row{1, 1, 1, channels};
    GradientPointers<T> p;
    p.g = in.g.as<T>();
    p.y = in.slope == 1 ? nullptr : in.y.as<T>();
    p.in.x = in.x.as<T>();
    p.in.low = static_cast<C>(in.slope);
    p.in.centre = Coefficient<C>({in.mean.data, dtype_of<C>, row});
    p.x_gradient = in.x_gradient.as<T>();
    p.h = in.h.as<T>();
    const auto [layout, vectors] = gradient_layout(p, 1, pixels, channels, multiprocessors_);
    const Scratch room(*this, static_cast<std::size_t>(layout.work() * 2 * channels) * sizeof(double));
    const Scratch coefficients(*this, static_cast<std::size_t>(3 * channels) * sizeof(C));
    C* const a = static_cast<C*>(coefficients.data());

    GradientPointers<T> sums = p;
    sums.x_gradient = nullptr;
    sums.h = nullptr;
    sums.sums = 2;
    sums.parts = static_cast<double*>(room.data());
    launch_channel_gradient(sums, layout, vectors, stream_);
    coefficients_kernel<C><<<join_blocks(channels), dim3(kJoinChannels, kJoinLanes), 0, stream_>>>(
        sums.parts, layout.chunks, channels, static_cast<double>(pixels), in.weight.as<C>(), in.r.as<C>(),
        in.weight_gradient.as<C>(), in.bias_gradient.as<C>(), a, a + channels, a + 2 * channels);
    check_launch("batch_norm_grad");
    if (p.x_gradient == nullptr && p.h == nullptr) return;
    p.a = Coefficient<C>({a, dtype_of<C>, row});
    p.b = Coefficient<C>({a + channels, dtype_of<C>, row});
    p.c = Coefficient<C>({a + 2 * channels, dtype_of<C>, row});
    launch_channel_gradient(p, layout, vectors, stream_);
  });
}

}  // namespace om::cuda
