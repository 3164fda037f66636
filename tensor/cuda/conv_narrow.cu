#include "tensor/cuda/conv_narrow.h"

#include "tensor/cuda/channel_sums.h"
#include "tensor/cuda/check.h"
#include "tensor/cuda/vector.h"

namespace om::cuda {
namespace {

constexpr int kBlock = 256, kLanes = 8;  // threads that share a pixel
constexpr std::int64_t kMostOutputs = 4, kMostInputs = 2048;
constexpr std::int64_t kFewPixels = 64;  // below, a product is cuBLAS's

/// Elements between the problems of a batch, which blockIdx.z counts.
struct Steps {
  std::int64_t x, w, y;
};

/// y[p, o] = sum over i of x[p, i] w[o, i]; the weights lie in shared memory as floats.
template <class T, class R, int O>
__global__ void __launch_bounds__(kBlock)
    forward_kernel(const T* x, const T* w, R* y, std::int64_t pixels, int inputs, Steps steps) {
  constexpr int V = kVector<T>;
  x += blockIdx.z * steps.x;
  w += blockIdx.z * steps.w;
  y += blockIdx.z * steps.y;
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
    input_grad_kernel(R* x, const T* w, const T* g, ChannelLayout layout, Steps steps) {
  x += blockIdx.z * steps.x;
  w += blockIdx.z * steps.w;
  g += blockIdx.z * steps.y;
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
    weight_grad_kernel(const T* x, const T* g, double* parts, ChannelLayout layout, Steps steps) {
  x += blockIdx.z * steps.x;
  g += blockIdx.z * steps.y;
  parts += blockIdx.z * layout.work() * O * layout.channels;
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
__global__ void __launch_bounds__(kJoinThreads)
    join_kernel(const double* parts, R* w, int chunks, int outputs, std::int64_t channels) {
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.x) * kJoinChannels + threadIdx.x;
  w += blockIdx.z * outputs * channels;
  for (int o = 0; o < outputs; ++o) {
    const double sum = join_chunks(parts, blockIdx.z, chunks, o, outputs, channels, channel);
    if (threadIdx.y == 0 && channel < channels)
      w[o * channels + channel] = static_cast<R>(static_cast<float>(sum));
  }
}

/// A batch of products with O on one side: pixels [P, I], weights [O, I], results [P, O].
struct Problem {
  ConvKind kind;
  DType dtype, result;
  void *x, *w, *y;
  std::int64_t batch, pixels, inputs, outputs;
  Steps steps;
};

template <class T, class R, int O>
void launch(CudaBackend& backend, const Problem& p) {
  constexpr int V = kVector<T>;
  const cudaStream_t stream = backend.stream();
  const auto batch = static_cast<unsigned>(p.batch);
  auto *const x = static_cast<T*>(p.x), *const w = static_cast<T*>(p.w), *const y = static_cast<T*>(p.y);
  const auto grid = [&](const ChannelLayout& layout) {
    dim3 blocks = layout.grid();
    blocks.z = batch;
    return blocks;
  };
  const int share =
      std::max(1, backend.multiprocessors() / static_cast<int>(std::min<std::int64_t>(p.batch, 1024)));
  if (p.kind == ConvKind::forward) {
    const std::int64_t blocks = std::min<std::int64_t>((p.pixels * kLanes + kBlock - 1) / kBlock, 8 * share);
    const std::size_t weights = static_cast<std::size_t>(O * p.inputs) * sizeof(float);
    forward_kernel<T, R, O><<<dim3(static_cast<unsigned>(blocks), 1, batch), kBlock, weights, stream>>>(
        x, w, static_cast<R*>(p.y), p.pixels, static_cast<int>(p.inputs), p.steps);
  } else if (p.kind == ConvKind::input_grad) {
    const ChannelLayout layout(1, p.pixels, p.inputs, V, 16, share);
    input_grad_kernel<T, R, O, V>
        <<<grid(layout), kChannelThreads, 0, stream>>>(static_cast<R*>(p.x), w, y, layout, p.steps);
  } else {
    const ChannelLayout layout(1, p.pixels, p.inputs, V, 64, share);
    const Scratch room(backend,
                       static_cast<std::size_t>(p.batch * layout.work() * O * p.inputs) * sizeof(double));
    auto* const parts = static_cast<double*>(room.data());
    weight_grad_kernel<T, O, V><<<grid(layout), kChannelThreads, 0, stream>>>(x, y, parts, layout, p.steps);
    const dim3 joins(static_cast<unsigned>((p.inputs + kJoinChannels - 1) / kJoinChannels), 1, batch);
    join_kernel<R><<<joins, dim3(kJoinChannels, kJoinLanes), 0, stream>>>(parts, static_cast<R*>(p.w),
                                                                          layout.chunks, O, p.inputs);
  }
  check_launch("narrow product");
}

template <class T, class R>
void dispatch_outputs(CudaBackend& backend, const Problem& p) {
  switch (p.outputs) {
    case 1: return launch<T, R, 1>(backend, p);
    case 2: return launch<T, R, 2>(backend, p);
    case 3: return launch<T, R, 3>(backend, p);
    default: return launch<T, R, 4>(backend, p);
  }
}

bool run(CudaBackend& backend, const Problem& p) {
  const std::int64_t vector = p.dtype == DType::bf16 ? 8 : 4;
  if (p.dtype == DType::f64 || p.outputs > kMostOutputs || p.inputs % vector != 0 || p.inputs > kMostInputs ||
      p.batch > 65535)
    return false;
  if (p.dtype == DType::f32)
    dispatch_outputs<float, float>(backend, p);
  else if (p.result == DType::f32)
    dispatch_outputs<BFloat16, float>(backend, p);
  else
    dispatch_outputs<BFloat16, BFloat16>(backend, p);
  return true;
}

}  // namespace

bool narrow_convolution(CudaBackend& backend, const ConvArrays& arrays, const Conv2dParams& p) {
  const Shape &x = arrays.x_shape, &w = arrays.w_shape;
  if (w[1] != 1 || w[2] != 1 || p.stride_h != 1 || p.stride_w != 1 || p.pad_h != 0 || p.pad_w != 0)
    return false;
  return run(backend, {arrays.kind,
                       arrays.dtype,
                       arrays.result,
                       arrays.x,
                       arrays.w,
                       arrays.y,
                       1,
                       x[0] * x[1] * x[2],
                       w[3],
                       w[0],
                       {0, 0, 0}});
}

bool narrow_matmul(CudaBackend& backend, const In& a, const In& b, const Out& y, const MatmulParams& p) {
  const std::int64_t batch = y.shape[0], m = y.shape[1], n = y.shape[2], k = a.shape[p.transpose_a ? 1 : 2];
  const auto pointer = [](const In& array) { return const_cast<void*>(array.data); };
  const auto step = [](const In& array) { return array.shape[0] == 1 ? 0 : array.shape[1] * array.shape[2]; };
  if (!aligned(16, a.data, b.data, y.data)) return false;
  if (!p.transpose_a && p.transpose_b && n <= kMostOutputs && m >= kFewPixels)
    return run(backend, {ConvKind::forward,
                         a.dtype,
                         y.dtype,
                         pointer(a),
                         pointer(b),
                         y.data,
                         batch,
                         m,
                         k,
                         n,
                         {step(a), step(b), m * n}});
  if (!p.transpose_a && !p.transpose_b && k <= kMostOutputs && m >= kFewPixels)
    return run(backend, {ConvKind::input_grad,
                         a.dtype,
                         y.dtype,
                         y.data,
                         pointer(b),
                         pointer(a),
                         batch,
                         m,
                         n,
                         k,
                         {m * n, step(b), step(a)}});
  if (p.transpose_a && !p.transpose_b && m <= kMostOutputs && k >= kFewPixels)
    return run(backend, {ConvKind::weight_grad,
                         a.dtype,
                         y.dtype,
                         pointer(b),
                         y.data,
                         pointer(a),
                         batch,
                         k,
                         n,
                         m,
                         {step(b), m * n, step(a)}});
  return false;
}

}  // namespace om::cuda
