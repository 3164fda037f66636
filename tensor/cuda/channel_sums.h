// Sums over pixels, per channel, for the channel kernels. Threads add a few dozen pixels in the computed
// type; from there on everything is double and in a fixed order: the rows of a block, then the chunks.
#pragma once

#include "tensor/cuda/channels.h"
#include "tensor/cuda/check.h"

namespace om::cuda {

#ifdef __CUDACC__

/// Adds the block's rows of `sums` up and writes them to parts[work][which][channel]. All threads of the
/// block call it; those that own no channels bring zeros. `shared` holds kChannelThreads V values.
template <int V, class C>
__device__ void write_part(const C (&sums)[V], C* shared, const ChannelLayout& layout, std::int64_t work,
                           int which, int count, double* parts) {
  const int width = layout.block_groups * V;
  __syncthreads();
#pragma unroll
  for (int k = 0; k < V; ++k) shared[static_cast<int>(threadIdx.x) * V + k] = sums[k];
  __syncthreads();
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.y) * width;
  for (int c = static_cast<int>(threadIdx.x); c < width; c += kChannelThreads) {
    if (first + c >= layout.channels) break;
    double sum = 0;
    for (int row = 0; row < layout.rows; ++row) sum += static_cast<double>(shared[row * width + c]);
    parts[(work * count + which) * layout.channels + first + c] = sum;
  }
}

constexpr int kJoinChannels = 32, kJoinLanes = 16, kJoinThreads = kJoinChannels * kJoinLanes;

/// The sum of a channel's chunks; right where threadIdx.y is 0. A block is kJoinChannels x kJoinLanes, and
/// its kernel says so in its launch bounds.
__device__ inline double join_chunks(const double* parts, std::int64_t image, int chunks, int which,
                                     int count, std::int64_t channels, std::int64_t channel) {
  __shared__ double lanes[kJoinLanes][kJoinChannels];
  double sum = 0;
  if (channel < channels)
#pragma unroll 4
    for (int chunk = static_cast<int>(threadIdx.y); chunk < chunks; chunk += kJoinLanes)
      sum += parts[((image * chunks + chunk) * count + which) * channels + channel];
  __syncthreads();
  lanes[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  sum = 0;
  for (const auto& lane : lanes) sum += lane[threadIdx.x];
  return sum;
}

#endif

}  // namespace om::cuda
