// Launch shape of the elementwise kernels: each block covers kTile consecutive elements, each thread
// kPerThread of them, a block's width apart, so that several loads are in flight at once.
#pragma once

#include <cstdint>

namespace om::cuda {

constexpr int kThreads = 256;
constexpr int kPerThread = 4;
constexpr std::int64_t kTile = kThreads * kPerThread;

inline unsigned blocks_for(std::int64_t elements) {
  return static_cast<unsigned>((elements + kTile - 1) / kTile);
}

#ifdef __CUDACC__
/// The calling thread's first element; the next ones follow kThreads apart.
__device__ inline std::int64_t first_element() {
  return static_cast<std::int64_t>(blockIdx.x) * kTile + threadIdx.x;
}
#endif

}  // namespace om::cuda
