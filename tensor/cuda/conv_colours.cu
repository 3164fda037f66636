// A thread keeps the weights (or their gradients' sums) of V output channels, 27 of each, in registers and
// walks along a line of the picture with the window of K x K pixels that it sees; the threads of a block
// stand side by side over the channels, then over runs of kRun pixels.
#include "tensor/cuda/channel_sums.h"
#include "tensor/cuda/check.h"
#include "tensor/cuda/conv_colours.h"
#include "tensor/cuda/vector.h"

namespace om::cuda {
namespace {

constexpr int kColours = 3, V = 4, kRun = 32;

struct Picture {
  int n, h, w, outputs, runs;  // runs a line
  ChannelLayout layout;        // threads of a block over channels and runs

  Picture(const Shape& x, std::int64_t outputs_)
      : n(static_cast<int>(x[0])),
        h(static_cast<int>(x[1])),
        w(static_cast<int>(x[2])),
        outputs(static_cast<int>(outputs_)),
        runs((w + kRun - 1) / kRun),
        layout(1, 1, outputs_, V, 4, 1) {}
  std::int64_t all_runs() const { return static_cast<std::int64_t>(n) * h * runs; }
#ifdef __CUDACC__
  unsigned blocks(int multiprocessors) const {
    const std::int64_t wanted = (all_runs() + layout.rows - 1) / layout.rows;
    return static_cast<unsigned>(std::min<std::int64_t>(wanted, 2 * multiprocessors));
  }
#endif
};

/// The pixels of x around one, those outside being black.
template <class T, int K>
struct Window {
  float pixel[K][K][kColours];  // [row][column]

  __device__ void load_column(const T* image, const Picture& s, int row, int column, int into) {
#pragma unroll
    for (int r = 0; r < K; ++r) {
      const int at = row + r - K / 2;
      const bool inside = at >= 0 && at < s.h && column >= 0 && column < s.w;
      const T* const from = image + (at * s.w + column) * kColours;
#pragma unroll
      for (int i = 0; i < kColours; ++i) pixel[r][into][i] = inside ? static_cast<float>(from[i]) : 0.0F;
    }
  }
  /// What lies left of `column`, before the first step.
  __device__ void begin(const T* image, const Picture& s, int row, int column) {
#pragma unroll
    for (int k = 0; k + 1 < K; ++k) load_column(image, s, row, column + k - K / 2, k + 1);
  }
  __device__ void step(const T* image, const Picture& s, int row, int column) {
#pragma unroll
    for (int r = 0; r < K; ++r)
#pragma unroll
      for (int k = 0; k + 1 < K; ++k)
#pragma unroll
        for (int i = 0; i < kColours; ++i) pixel[r][k][i] = pixel[r][k + 1][i];
    load_column(image, s, row, column + K / 2, K - 1);
  }
};

/// Calls body(window, offset of the pixel) for each pixel of the thread's runs.
template <class T, int K, class Body>
__device__ void walk(const T* x, const Picture& s, Body&& body) {
  const int row_of_block = static_cast<int>(threadIdx.x) / s.layout.block_groups;
  const std::int64_t all = static_cast<std::int64_t>(s.n) * s.h * s.runs;
  if (row_of_block >= s.layout.rows) return;
  for (std::int64_t run = static_cast<std::int64_t>(blockIdx.x) * s.layout.rows + row_of_block; run < all;
       run += static_cast<std::int64_t>(gridDim.x) * s.layout.rows) {
    const auto line = static_cast<int>(run / s.runs);
    const int start = static_cast<int>(run - static_cast<std::int64_t>(line) * s.runs) * kRun;
    const int image = line / s.h, row = line - image * s.h;
    const T* const picture = x + static_cast<std::int64_t>(image) * s.h * s.w * kColours;
    Window<T, K> window;
    window.begin(picture, s, row, start);
    const int end = min(start + kRun, s.w);
#pragma unroll 3
    for (int column = start; column < end; ++column) {
      window.step(picture, s, row, column);
      body(window, static_cast<std::int64_t>(line) * s.w + column);
    }
  }
}

template <class T, class R, int K>
__global__ void __launch_bounds__(kChannelThreads) forward_kernel(const T* x, const T* w, R* y, Picture s) {
  const int channel = (static_cast<int>(blockIdx.y) * s.layout.block_groups +
                       static_cast<int>(threadIdx.x) % s.layout.block_groups) *
                      V;
  if (channel >= s.outputs) return;
  float taps[K][K][kColours][V];
#pragma unroll
  for (int k = 0; k < V; ++k)
#pragma unroll
    for (int t = 0; t < K * K * kColours; ++t)
      taps[t / (K * kColours)][t / kColours % K][t % kColours][k] =
          static_cast<float>(w[static_cast<std::int64_t>(channel + k) * K * K * kColours + t]);
  walk<T, K>(x, s, [&](const Window<T, K>& window, std::int64_t at) {
    float sums[V] = {};
#pragma unroll
    for (int r = 0; r < K; ++r)
#pragma unroll
      for (int c = 0; c < K; ++c)
#pragma unroll
        for (int i = 0; i < kColours; ++i)
#pragma unroll
          for (int k = 0; k < V; ++k) sums[k] += window.pixel[r][c][i] * taps[r][c][i][k];
    *reinterpret_cast<Packed<R, V>*>(y + at * s.outputs + channel) = packed_of<R>(sums);
  });
}

/// parts[block][tap][channel].
template <class T, int K>
__global__ void __launch_bounds__(kChannelThreads)
    weight_grad_kernel(const T* x, const T* g, double* parts, Picture s) {
  __shared__ float shared[kChannelThreads * V];
  const int channel = (static_cast<int>(blockIdx.y) * s.layout.block_groups +
                       static_cast<int>(threadIdx.x) % s.layout.block_groups) *
                      V;
  float sums[K][K][kColours][V] = {};
  if (channel < s.outputs)
    walk<T, K>(x, s, [&](const Window<T, K>& window, std::int64_t at) {
      float gradient[V];
      load<V>(g + at * s.outputs + channel, gradient);
#pragma unroll
      for (int r = 0; r < K; ++r)
#pragma unroll
        for (int c = 0; c < K; ++c)
#pragma unroll
          for (int i = 0; i < kColours; ++i)
#pragma unroll
            for (int k = 0; k < V; ++k) sums[r][c][i][k] += window.pixel[r][c][i] * gradient[k];
    });
#pragma unroll
  for (int t = 0; t < K * K * kColours; ++t)
    write_part<V>(sums[t / (K * kColours)][t / kColours % K][t % kColours], shared, s.layout, blockIdx.x, t,
                  K * K * kColours, parts);
}

template <class R>
__global__ void __launch_bounds__(kJoinThreads)
    join_kernel(const double* parts, R* w, int blocks, int taps, std::int64_t channels) {
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.x) * kJoinChannels + threadIdx.x;
  const auto tap = static_cast<int>(blockIdx.y);
  const double sum = join_chunks(parts, 0, blocks, tap, taps, channels, channel);
  if (threadIdx.y == 0 && channel < channels)
    w[channel * taps + tap] = static_cast<R>(static_cast<float>(sum));
}

/// x[p, i] from g: G lanes share a pixel, each with V of the G V channels of g and their weights.
template <class T, class R, int G>
__global__ void __launch_bounds__(kChannelThreads)
    input_grad_kernel(R* x, const T* w, const T* g, Picture s) {
  constexpr int K = 3, kTeams = kChannelThreads / G;
  const int lane = static_cast<int>(threadIdx.x) % G, team = static_cast<int>(threadIdx.x) / G;
  float taps[K][K][kColours][V];
#pragma unroll
  for (int k = 0; k < V; ++k)
#pragma unroll
    for (int t = 0; t < K * K * kColours; ++t)
      taps[t / (K * kColours)][t / kColours % K][t % kColours][k] =
          static_cast<float>(w[(lane * V + k) * K * K * kColours + t]);
  const std::int64_t all = static_cast<std::int64_t>(s.n) * s.h * s.runs,
                     teams = static_cast<std::int64_t>(gridDim.x) * kTeams;
  // Whole warps walk together, since they shuffle; a team beyond the last run walks along and writes nothing.
  const std::int64_t rounds = (all + teams - 1) / teams;
  for (std::int64_t round = 0; round < rounds; ++round) {
    const std::int64_t wanted = round * teams + static_cast<std::int64_t>(blockIdx.x) * kTeams + team;
    const std::int64_t run = min(wanted, all - 1);
    const auto line = static_cast<int>(run / s.runs);
    const int start = static_cast<int>(run - static_cast<std::int64_t>(line) * s.runs) * kRun;
    const int image = line / s.h, row = line - image * s.h;
    const T* const picture = g + static_cast<std::int64_t>(image) * s.h * s.w * s.outputs + lane * V;
    float window[K][K][V];
    const auto load_column = [&](int column, int into) {
#pragma unroll
      for (int r = 0; r < K; ++r) {
        const int at = row + r - 1;
        if (at >= 0 && at < s.h && column >= 0 && column < s.w) {
          load<V>(picture + static_cast<std::int64_t>(at * s.w + column) * s.outputs, window[r][into]);
        } else {
#pragma unroll
          for (int k = 0; k < V; ++k) window[r][into][k] = 0;
        }
      }
    };
    load_column(start - 1, 1);
    load_column(start, 2);
    for (int column = start; column < start + kRun; ++column) {
#pragma unroll
      for (int r = 0; r < K; ++r)
#pragma unroll
        for (int k = 0; k < V; ++k) {
          window[r][0][k] = window[r][1][k];
          window[r][1][k] = window[r][2][k];
        }
      load_column(column + 1, 2);
      float sums[kColours] = {};
#pragma unroll
      for (int r = 0; r < K; ++r)
#pragma unroll
        for (int c = 0; c < K; ++c)
#pragma unroll
          for (int i = 0; i < kColours; ++i)
#pragma unroll
            for (int k = 0; k < V; ++k) sums[i] += window[r][c][k] * taps[K - 1 - r][K - 1 - c][i][k];
#pragma unroll
      for (float& sum : sums)
#pragma unroll
        for (int half = G / 2; half > 0; half /= 2) sum += __shfl_xor_sync(0xffffffffU, sum, half);
      if (lane < kColours && wanted < all && column < s.w)
        x[(static_cast<std::int64_t>(line) * s.w + column) * kColours + lane] =
            static_cast<R>(lane == 0   ? sums[0]
                           : lane == 1 ? sums[1]
                                       : sums[2]);
    }
  }
}

template <class T, class R, int K>
void launch(CudaBackend& backend, const ConvArrays& arrays) {
  const Picture s(arrays.x_shape, arrays.w_shape[0]);
  const cudaStream_t stream = backend.stream();
  auto *const x = static_cast<T*>(arrays.x), *const w = static_cast<T*>(arrays.w),
              *const y = static_cast<T*>(arrays.y);
  const dim3 grid(s.blocks(backend.multiprocessors()), static_cast<unsigned>(s.layout.group_blocks()));
  if (arrays.kind == ConvKind::forward) {
    forward_kernel<T, R, K><<<grid, kChannelThreads, 0, stream>>>(x, w, static_cast<R*>(arrays.y), s);
  } else if (arrays.kind == ConvKind::weight_grad) {
    constexpr int kTaps = K * K * kColours;
    const Scratch room(backend, static_cast<std::size_t>(grid.x) * kTaps *
                                    static_cast<std::size_t>(s.outputs) * sizeof(double));
    auto* const parts = static_cast<double*>(room.data());
    weight_grad_kernel<T, K><<<grid, kChannelThreads, 0, stream>>>(x, y, parts, s);
    const dim3 joins(static_cast<unsigned>((s.outputs + kJoinChannels - 1) / kJoinChannels), kTaps);
    join_kernel<R><<<joins, dim3(kJoinChannels, kJoinLanes), 0, stream>>>(
        parts, static_cast<R*>(arrays.w), static_cast<int>(grid.x), kTaps, s.outputs);
  } else if constexpr (K == 3) {
    const std::int64_t teams = s.outputs == 64 ? 16 : 8;  // a block's
    const auto blocks = static_cast<unsigned>(
        std::min<std::int64_t>((s.all_runs() + teams - 1) / teams, 2 * backend.multiprocessors()));
    if (s.outputs == 64)
      input_grad_kernel<T, R, 16><<<blocks, kChannelThreads, 0, stream>>>(static_cast<R*>(arrays.x), w, y, s);
    else
      input_grad_kernel<T, R, 32><<<blocks, kChannelThreads, 0, stream>>>(static_cast<R*>(arrays.x), w, y, s);
  }
  check_launch("convolution of a picture");
}

template <int K>
void dispatch_types(CudaBackend& backend, const ConvArrays& arrays) {
  if (arrays.dtype == DType::f32)
    launch<float, float, K>(backend, arrays);
  else if (arrays.result == DType::f32)
    launch<BFloat16, float, K>(backend, arrays);
  else
    launch<BFloat16, BFloat16, K>(backend, arrays);
}

}  // namespace

bool colour_convolution(CudaBackend& backend, const ConvArrays& arrays, const Conv2dParams& p) {
  const Shape &x = arrays.x_shape, &w = arrays.w_shape;
  const std::int64_t k = w[1];
  const bool fits = arrays.dtype != DType::f64 && w[3] == kColours && w[0] % V == 0 && w[2] == k &&
                    (k == 1 || k == 3) && p.stride_h == 1 && p.stride_w == 1 && p.pad_h == k / 2 &&
                    p.pad_w == k / 2 && x.elements() < (std::int64_t{1} << 30);
  if (!fits) return false;
  if (arrays.kind == ConvKind::input_grad && (k != 3 || (w[0] != 64 && w[0] != 128))) return false;
  if (k == 3)
    dispatch_types<3>(backend, arrays);
  else
    dispatch_types<1>(backend, arrays);
  return true;
}

}  // namespace om::cuda
