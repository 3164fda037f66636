#include "tensor/cuda/channel_gradient.h"

#include "tensor/cuda/check.h"

namespace om::cuda {
namespace {

constexpr int kUnrolled = 2;

/// Whether the threads of a row can sum over its channels in the pass itself.
__host__ __device__ bool sums_rows(const ChannelLayout& layout) {
  const int groups = layout.block_groups;
  return groups == layout.groups && (groups % 32 == 0 || (groups < 32 && (groups & (groups - 1)) == 0));
}

/// What memory holds of one pixel.
template <class T, int V, Sign sign>
struct GradientOperands {
  using C = arithmetic_t<T>;
  Packed<T, V> g, y;
  ArgumentOperands<T, V> u;

  __device__ __forceinline__ void load(const GradientPointers<T>& p, std::int64_t image, std::int64_t pixel,
                                       std::int64_t at, bool reads_x) {
    g = load_packed<V>(p.g + at);
    if constexpr (sign == Sign::of_y) y = load_packed<V>(p.y + at);
    if constexpr (sign == Sign::of_argument)
      u.load(p.in, image, pixel, at);
    else if (reads_x)
      u.x = load_packed<V>(p.in.x + at);
  }

  /// h, and g gain f(u) where the sign comes from u.
  __device__ __forceinline__ void gradient(const GradientPointers<T>& p,
                                           const Coefficients<T, V>& coefficients, C (&h)[V],
                                           C (&z)[V]) const {
    unpack(g, h);
    C signs[V];
    if constexpr (sign == Sign::of_argument) coefficients.argument(p.in, u, signs);
    if constexpr (sign == Sign::of_y) unpack(y, signs);
#pragma unroll
    for (int k = 0; k < V; ++k) {
      const C slope = sign == Sign::unwanted || signs[k] > C{0} ? p.in.high : p.in.low;
      if constexpr (sign == Sign::of_argument) z[k] = h[k] * p.in.activated(signs[k]);
      h[k] *= sign == Sign::of_argument ? slope * coefficients.factor[k] : slope;
    }
  }
};

template <class T, int V, Sign sign, bool sums>
__global__ void __launch_bounds__(kChannelThreads)
    gradient_kernel(GradientPointers<T> p, ChannelLayout layout, bool reads_x, bool maps) {
  using C = arithmetic_t<T>;
  __shared__ C shared[sums ? kChannelThreads * V : 1];
  __shared__ C warps[kUnrolled][kChannelThreads / 32];
  const int thread = static_cast<int>(threadIdx.x);
  const int group = static_cast<int>(blockIdx.y) * layout.block_groups + thread % layout.block_groups;
  const int row = thread / layout.block_groups;
  const bool owner = group < layout.groups && row < layout.rows;
  const std::int64_t channel = owner ? static_cast<std::int64_t>(group) * V : 0;
  for (std::int64_t work = blockIdx.x; work < layout.work(); work += gridDim.x) {
    const std::int64_t image = work / layout.chunks, chunk = work % layout.chunks;
    const Coefficients<T, V> coefficients(p.in, image, channel);
    C a[V], b[V], c[V];
    p.a.load(image, channel, C{1}, a);
    p.b.load(image, channel, C{0}, b);
    p.c.load(image, channel, C{0}, c);
    C sum_h[V] = {}, sum_hx[V] = {}, sum_z[V] = {};
    const std::int64_t first = chunk * layout.rows * layout.steps + row;
    for (int step = 0; step < layout.steps; step += kUnrolled) {
      GradientOperands<T, V, sign> operands[kUnrolled];
#pragma unroll
      for (int k = 0; k < kUnrolled; ++k) {
        const std::int64_t pixel = first + static_cast<std::int64_t>(step + k) * layout.rows;
        if (owner && pixel < layout.pixels)
          operands[k].load(p, image, pixel, (image * layout.pixels + pixel) * layout.channels + channel,
                           reads_x);
      }
#pragma unroll
      for (int k = 0; k < kUnrolled; ++k) {
        const std::int64_t pixel = first + static_cast<std::int64_t>(step + k) * layout.rows;
        const bool live = owner && pixel < layout.pixels;
        C row_sum = 0;
        if (live) {
          const std::int64_t at = (image * layout.pixels + pixel) * layout.channels + channel;
          C h[V], z[V] = {}, x[V] = {};
          operands[k].gradient(p, coefficients, h, z);
          if (reads_x) unpack(operands[k].u.x, x);
          if (p.h != nullptr) store<V>(p.h + at, h);
          if (p.x_gradient != nullptr) {
            C value[V];
#pragma unroll
            for (int i = 0; i < V; ++i)
              value[i] = a[i] * h[i] + (b[i] * (x[i] - coefficients.centre[i]) + c[i]);
            store<V>(p.x_gradient + at, value);
          }
#pragma unroll
          for (int i = 0; i < V; ++i) {
            row_sum += h[i];
            if constexpr (sums) {
              sum_h[i] += h[i];
              sum_hx[i] += h[i] * (x[i] - coefficients.centre[i]);
              sum_z[i] += z[i];
            }
          }
        }
        if (!maps) continue;
        if (layout.block_groups < 32) {
          for (int half = layout.block_groups / 2; half > 0; half /= 2)
            row_sum += __shfl_xor_sync(0xffffffffU, row_sum, half);
        } else {
          row_sum = warp_sum(row_sum);
          if (thread % 32 == 0) warps[k][thread / 32] = row_sum;
        }
        if (layout.block_groups <= 32 && live && group == 0) p.map[image * layout.pixels + pixel] = row_sum;
      }
      if (maps && layout.block_groups > 32) {
        __syncthreads();
        const int width = layout.block_groups / 32;
        for (int k = 0; k < kUnrolled; ++k) {
          const std::int64_t pixel = first + static_cast<std::int64_t>(step + k) * layout.rows;
          if (group != 0 || !owner || pixel >= layout.pixels) continue;
          C total = 0;
          for (int i = 0; i < width; ++i) total += warps[k][row * width + i];
          p.map[image * layout.pixels + pixel] = total;
        }
        __syncthreads();
      }
    }
    if constexpr (sums) {
      write_part<V>(sum_h, shared, layout, work, 0, p.sums, p.parts);
      if (p.sums > 1) write_part<V>(sum_hx, shared, layout, work, 1, p.sums, p.parts);
      if (p.sums > 2) write_part<V>(sum_z, shared, layout, work, 2, p.sums, p.parts);
    }
  }
}

/// The sum over channels where the pass cannot form it: a warp a pixel.
template <class T, Sign sign>
__global__ void __launch_bounds__(kChannelThreads) map_kernel(GradientPointers<T> p, ChannelLayout layout) {
  using C = arithmetic_t<T>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t warps = static_cast<std::int64_t>(gridDim.x) * (kChannelThreads / 32);
  for (std::int64_t place = (static_cast<std::int64_t>(blockIdx.x) * kChannelThreads + threadIdx.x) / 32;
       place < layout.images * layout.pixels; place += warps) {
    const std::int64_t image = place / layout.pixels, pixel = place % layout.pixels;
    C sum = 0;
    for (std::int64_t channel = lane; channel < layout.channels; channel += 32) {
      const Coefficients<T, 1> coefficients(p.in, image, channel);
      GradientOperands<T, 1, sign> operands;
      operands.load(p, image, pixel, place * layout.channels + channel, false);
      C h[1], z[1];
      operands.gradient(p, coefficients, h, z);
      sum += h[0];
    }
    sum = warp_sum(sum);
    if (lane == 0) p.map[place] = sum;
  }
}

template <class Body>
void dispatch_sign(Sign sign, Body&& body) {
  switch (sign) {
    case Sign::unwanted: return body(std::integral_constant<Sign, Sign::unwanted>{});
    case Sign::of_y: return body(std::integral_constant<Sign, Sign::of_y>{});
    case Sign::of_argument: return body(std::integral_constant<Sign, Sign::of_argument>{});
  }
}

template <class T, int V>
void launch(const GradientPointers<T>& p, const ChannelLayout& layout, Sign sign, cudaStream_t stream) {
  const bool reads_x = sign == Sign::of_argument || p.b.data != nullptr || p.sums > 1;
  const bool maps = p.map != nullptr && sums_rows(layout);
  dispatch_sign(sign, [&]<Sign s>(std::integral_constant<Sign, s>) {
    if (p.sums > 0)
      gradient_kernel<T, V, s, true><<<layout.grid(), kChannelThreads, 0, stream>>>(p, layout, reads_x, maps);
    else
      gradient_kernel<T, V, s, false>
          <<<layout.grid(), kChannelThreads, 0, stream>>>(p, layout, reads_x, maps);
    if (p.map != nullptr && !maps) {
      const std::int64_t blocks = (layout.images * layout.pixels + 7) / 8;
      map_kernel<T, s>
          <<<static_cast<unsigned>(std::min<std::int64_t>(blocks, 1 << 20)), kChannelThreads, 0, stream>>>(
              p, layout);
    }
  });
  check_launch("channel gradient");
}

/// sums [N, 1, 1, C] from the chunks' parts.
template <class C>
__global__ void __launch_bounds__(kJoinThreads)
    join_kernel(const double* parts, C* sum_h, C* sum_hx, C* sum_gz, int count, int chunks,
                std::int64_t channels) {
  const std::int64_t image = blockIdx.y,
                     channel = static_cast<std::int64_t>(blockIdx.x) * kJoinChannels + threadIdx.x;
  C* const sums[3] = {sum_h, sum_hx, sum_gz};
#pragma unroll
  for (int which = 0; which < 3; ++which) {
    if (sums[which] == nullptr) continue;
    const double sum = join_chunks(parts, image, chunks, which, count, channels, channel);
    if (threadIdx.y == 0 && channel < channels) sums[which][image * channels + channel] = static_cast<C>(sum);
  }
}

}  // namespace

template <class T>
void launch_channel_gradient(const GradientPointers<T>& p, const ChannelLayout& layout, bool vectors,
                             cudaStream_t stream) {
  const bool no_sign = p.in.high == p.in.low && p.in.factor.data == nullptr;
  const Sign sign = p.y != nullptr ? Sign::of_y : no_sign ? Sign::unwanted : Sign::of_argument;
  if (vectors)
    launch<T, kVector<T>>(p, layout, sign, stream);
  else
    launch<T, 1>(p, layout, sign, stream);
}

template void launch_channel_gradient(const GradientPointers<float>&, const ChannelLayout&, bool,
                                      cudaStream_t);
template void launch_channel_gradient(const GradientPointers<double>&, const ChannelLayout&, bool,
                                      cudaStream_t);
template void launch_channel_gradient(const GradientPointers<BFloat16>&, const ChannelLayout&, bool,
                                      cudaStream_t);

void CudaBackend::channel_activation_grad(const ActivationGradient& in) {
  const Ordered order(*this,
                      {in.g, in.y, in.inputs.x, in.inputs.scale, in.inputs.bias, in.inputs.noise,
                       in.inputs.strength, in.inputs.residual, in.inputs.factor},
                      {in.x_gradient, in.h, in.map, in.sum_h, in.sum_hx, in.sum_gz});
  const Shape& shape = in.g.shape;
  if (in.g.shape.elements() == 0) {
    for (const Out& out : {in.map, in.sum_h, in.sum_hx, in.sum_gz})
      if (out.data != nullptr) fill(out, 0);
    return;
  }
  dispatch_floating("cuda channel_activation_grad", in.g.dtype, [&]<class T>(Type<T>) {
    using C = arithmetic_t<T>;
    GradientPointers<T> p;
    p.g = in.g.as<T>();
    p.y = in.y.as<T>();
    p.in = ArgumentPointers<T>(in.inputs);
    p.a = p.in.scale;
    p.x_gradient = in.x_gradient.as<T>();
    p.h = in.h.as<T>();
    p.map = in.map.as<C>();
    p.sums = in.sum_gz.data != nullptr ? 3 : in.sum_hx.data != nullptr ? 2 : in.sum_h.data != nullptr ? 1 : 0;
    const auto [layout, vectors] =
        gradient_layout(p, shape[0], shape[1] * shape[2], shape[3], multiprocessors_);
    const Scratch parts(*this, static_cast<std::size_t>(layout.work() * p.sums * shape[3]) * sizeof(double));
    p.parts = static_cast<double*>(parts.data());
    launch_channel_gradient(p, layout, vectors, stream_);
    if (p.sums == 0) return;
    const dim3 grid(static_cast<unsigned>((shape[3] + kJoinChannels - 1) / kJoinChannels),
                    static_cast<unsigned>(shape[0]));
    join_kernel<C><<<grid, dim3(kJoinChannels, kJoinLanes), 0, stream_>>>(
        p.parts, in.sum_h.as<C>(), in.sum_hx.as<C>(), in.sum_gz.as<C>(), p.sums, layout.chunks, shape[3]);
    check_launch("channel gradient's sums");
  });
}

}  // namespace om::cuda
