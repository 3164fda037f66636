// How the products cut their sums.
#include "tensor/cpu/gemm.h"

namespace om::cpu {

std::vector<KBlock> split_k(std::int64_t taps, std::int64_t depth) {
  constexpr std::int64_t kLength = 384, kTaps = 64;
  std::vector<KBlock> blocks;
  if (taps == 0 || depth == 0) return blocks;
  if (depth > kLength / 2) {
    const std::int64_t pieces = (depth + kLength - 1) / kLength;
    const std::int64_t step = round_up((depth + pieces - 1) / pieces, 8);
    for (std::int64_t tap = 0; tap < taps; ++tap)
      for (std::int64_t first = 0; first < depth; first += step)
        blocks.push_back({tap, 1, first, std::min(step, depth - first)});
    return blocks;
  }
  const std::int64_t most = std::min(kTaps, kLength / depth);
  const std::int64_t pieces = (taps + most - 1) / most, step = (taps + pieces - 1) / pieces;
  for (std::int64_t tap = 0; tap < taps; tap += step)
    blocks.push_back({tap, std::min(step, taps - tap), 0, depth});
  return blocks;
}

}  // namespace om::cpu
