#include "tensor/cuda/conv_narrow.h"

#include "tensor/cuda/channel_sums.h"
#include "tensor/cuda/check.h"
#include "tensor/cuda/vector.h"

namespace om::cuda {
namespace {

constexpr int kBlock = 256, kLanes = 8;  // threads that share a pixel
constexpr std::int64_t kMostOutputs = 4, kMostInputs = 2048;

/// y[p, o] = sum over i of x[p, i] w[o, i]; the weights lie in shared memory as floats.
template <class T, class R, int O>
__global__ void __launch_bounds__(kBlock)
    forward_kernel(const T* x, const T* w, R* y, std::int64_t pixels, int inputs) {
  constexpr int V = kVector<T>;
  extern __shared__ __align__(16) float weights[];
  for (int i = static_cast<int>(threadIdx.x); i < O * inputs; i += kBlock)
    weights[i] = static_cast<float>(w[i]);
  __syncthreads();
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * (kBlock / kLanes);
  // Whole warps walk together, since they shuffle.
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x) / kLanes;
  for (std::int64_t base = first - first % (32 / kLanes); base < pixels; base += step) {
    const std::int64_t pixel = base + first % (32 / kLanes);
    float sums[O] = {};
    if (pixel < pixels) {
      const T* const row = x + pixel * inputs;
      for (int i = lane * V; i < inputs; i += kLanes * V) {
        float values[V];
        load<V>(row + i, values);
#pragma unroll
        for (int o = 0; o < O; ++o) {
          float tap[V];
          load<4>(weights + o * inputs + i, *reinterpret_cast<float(*)[4]>(tap));
          if constexpr (V == 8)
            load<4>(weights + o * inputs + i + 4, *reinterpret_cast<float(*)[4]>(tap + 4));
#pragma unroll
          for (int k = 0; k < V; ++k) sums[o] += values[k] * tap[k];
        }
      }
    }
#pragma unroll
    for (int o = 0; o < O; ++o)
#pragma unroll
      for (int half = kLanes / 2; half > 0; half /= 2) sums[o] += __shfl_xor_sync(0xffffffffU, sums[o], half);
    if (lane == 0 && pixel < pixels) {
#pragma unroll
      for (int o = 0; o < O; ++o) y[pixel * O + o] = static_cast<R>(sums[o]);
    }
  }
}

/// x[p, i] = sum over o of g[p, o] w[o, i]; a thread keeps the weights of its channels.
template <class T, class R, int O, int V>
__global__ void __launch_bounds__(kChannelThreads)
    input_grad_kernel(R* x, const T* w, const T* g, ChannelLayout layout) {
  const int group = static_cast<int>(blockIdx.y) * layout.block_groups +
                    static_cast<int>(threadIdx.x) % layout.block_groups;
  const int row = static_cast<int>(threadIdx.x) / layout.block_groups;
  if (group >= layout.groups || row >= layout.rows) return;
  const std::int64_t channel = static_cast<std::int64_t>(group) * V;
  float taps[O][V];
#pragma unroll
  for (int o = 0; o < O; ++o) load<V>(w + o * layout.channels + channel, taps[o]);
  for (std::int64_t work = blockIdx.x; work < layout.work(); work += gridDim.x) {
    const std::int64_t first = work * layout.rows * layout.steps + row;
    for (int step = 0; step < layout.steps; ++step) {
      const std::int64_t pixel = first + static_cast<std::int64_t>(step) * layout.rows;
      if (pixel >= layout.pixels) break;
      float sums[V] = {};
#pragma unroll
      for (int o = 0; o < O; ++o) {
        const auto value = static_cast<float>(g[pixel * O + o]);
#pragma unroll
        for (int k = 0; k < V; ++k) sums[k] += value * taps[o][k];
      }
      *reinterpret_cast<Packed<R, V>*>(x + pixel * layout.channels + channel) = packed_of<R>(sums);
    }
  }
}

/// parts[chunk][o][i] of w[o, i] = sum over p of g[p, o] x[p, i].
template <class T, int O, int V>
__global__ void __launch_bounds__(kChannelThreads)
    weight_grad_kernel(const T* x, const T* g, double* parts, ChannelLayout layout) {
  __shared__ float shared[kChannelThreads * V];
  const int thread = static_cast<int>(threadIdx.x);
  const int group = static_cast<int>(blockIdx.y) * layout.block_groups + thread % layout.block_groups;
  const int row = thread / layout.block_groups;
  const bool owner = group < layout.groups && row < layout.rows;
  const std::int64_t channel = owner ? static_cast<std::int64_t>(group) * V : 0;
  for (std::int64_t work = blockIdx.x; work < layout.work(); work += gridDim.x) {
    float sums[O][V] = {};
    const std::int64_t first = work * layout.rows * layout.steps + row;
#pragma unroll 2
    for (int step = 0; step < layout.steps; ++step) {
      const std::int64_t pixel = first + static_cast<std::int64_t>(step) * layout.rows;
      if (!owner || pixel >= layout.pixels) break;
      float values[V];
      load<V>(x + pixel * layout.channels + channel, values);
#pragma unroll
      for (int o = 0; o < O; ++o) {
        const auto factor = static_cast<float>(g[pixel * O + o]);
#pragma unroll
        for (int k = 0; k < V; ++k) sums[o][k] += factor * values[k];
      }
    }
#pragma unroll
    for (int o = 0; o < O; ++o) write_part<V>(sums[o], shared, layout, work, o, O, parts);
  }
}

template <class R>
__global__ void join_kernel(const double* parts, R* w, int chunks, int outputs, std::int64_t channels) {
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.x) * kJoinChannels + threadIdx.x;
  for (int o = 0; o < outputs; ++o) {
    const double sum = join_chunks(parts, 0, chunks, o, outputs, channels, channel);
    if (threadIdx.y == 0 && channel < channels)
      w[o * channels + channel] = static_cast<R>(static_cast<float>(sum));
  }
}

template <class T, class R, int O>
void launch(CudaBackend& backend, const ConvArrays& arrays) {
  constexpr int V = kVector<T>;
  const Shape& s = arrays.x_shape;
  const std::int64_t pixels = s[0] * s[1] * s[2], inputs = s[3];
  const cudaStream_t stream = backend.stream();
  auto *const x = static_cast<T*>(arrays.x), *const w = static_cast<T*>(arrays.w),
              *const y = static_cast<T*>(arrays.y);
  if (arrays.kind == ConvKind::forward) {
    const std::int64_t blocks =
        std::min<std::int64_t>((pixels * kLanes + kBlock - 1) / kBlock, 8 * backend.multiprocessors());
    forward_kernel<T, R, O>
        <<<static_cast<unsigned>(blocks), kBlock, static_cast<std::size_t>(O * inputs) * sizeof(float),
           stream>>>(x, w, static_cast<R*>(arrays.y), pixels, static_cast<int>(inputs));
  } else if (arrays.kind == ConvKind::input_grad) {
    const ChannelLayout layout(1, pixels, inputs, V, 16, backend.multiprocessors());
    input_grad_kernel<T, R, O, V>
        <<<layout.grid(), kChannelThreads, 0, stream>>>(static_cast<R*>(arrays.x), w, y, layout);
  } else {
    const ChannelLayout layout(1, pixels, inputs, V, 64, backend.multiprocessors());
    const Scratch parts(backend, static_cast<std::size_t>(layout.work() * O * inputs) * sizeof(double));
    auto* const to = static_cast<double*>(parts.data());
    weight_grad_kernel<T, O, V><<<layout.grid(), kChannelThreads, 0, stream>>>(x, y, to, layout);
    join_kernel<R><<<static_cast<unsigned>((inputs + kJoinChannels - 1) / kJoinChannels),
                     dim3(kJoinChannels, kJoinLanes), 0, stream>>>(to, static_cast<R*>(arrays.w),
                                                                   layout.chunks, O, inputs);
  }
  check_launch("narrow convolution");
}

template <class T, class R>
void dispatch_outputs(CudaBackend& backend, const ConvArrays& arrays) {
  switch (arrays.w_shape[0]) {
    case 1: return launch<T, R, 1>(backend, arrays);
    case 2: return launch<T, R, 2>(backend, arrays);
    case 3: return launch<T, R, 3>(backend, arrays);
    default: return launch<T, R, 4>(backend, arrays);
  }
}

}  // namespace

bool narrow_convolution(CudaBackend& backend, const ConvArrays& arrays, const Conv2dParams& p) {
  const Shape& w = arrays.w_shape;
  const std::int64_t vector = arrays.dtype == DType::bf16 ? 8 : 4;
  if (arrays.dtype == DType::f64 || w[1] != 1 || w[2] != 1 || w[0] > kMostOutputs || w[3] % vector != 0 ||
      w[3] > kMostInputs || p.stride_h != 1 || p.stride_w != 1 || p.pad_h != 0 || p.pad_w != 0)
    return false;
  if (arrays.dtype == DType::f32)
    dispatch_outputs<float, float>(backend, arrays);
  else if (arrays.result == DType::f32)
    dispatch_outputs<BFloat16, float>(backend, arrays);
  else
    dispatch_outputs<BFloat16, BFloat16>(backend, arrays);
  return true;
}

}  // namespace om::cuda
