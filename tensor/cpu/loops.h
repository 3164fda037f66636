// Loop nests over several arrays at once. Kernels first drop dimensions of size 1 and merge neighbours that
// every array walks evenly, so that [N, H, W, C] with [1, 1, 1, C], with [N, 1, 1, C], with a scalar or with
// its own shape all become one or two long loops.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "tensor/shape.h"

namespace om::cpu {

/// About how many elements one tile of a memory-bound kernel covers.
constexpr std::int64_t kTile = 16384;

template <std::size_t Arrays>
struct Loops {
  int rank = 0;
  std::array<std::int64_t, kMaxRank> size{};
  std::array<std::array<std::int64_t, kMaxRank>, Arrays> stride{};

  std::int64_t elements() const {
    std::int64_t count = 1;
    for (int d = 0; d < rank; ++d) count *= size[d];
    return count;
  }

  /// Removes the innermost dimension (size 1 and stride 0 where there is none) and returns it.
  struct Dimension {
    std::int64_t size = 1;
    std::array<std::int64_t, Arrays> stride{};
  };
  Dimension take(int d) {
    Dimension result;
    if (d < 0 || d >= rank) return result;
    result.size = size[d];
    for (std::size_t k = 0; k < Arrays; ++k) {
      result.stride[k] = stride[k][d];
      std::copy(stride[k].begin() + d + 1, stride[k].begin() + rank, stride[k].begin() + d);
    }
    std::copy(size.begin() + d + 1, size.begin() + rank, size.begin() + d);
    --rank;
    return result;
  }
};

/// The loops over `extent` with the given strides per array, outermost first.
template <std::size_t Arrays>
Loops<Arrays> make_loops(const Shape& extent, const std::array<Strides, Arrays>& strides) {
  Loops<Arrays> loops;
  for (int d = 0; d < extent.rank(); ++d) {
    if (extent[d] == 1) continue;
    loops.size[loops.rank] = extent[d];
    for (std::size_t k = 0; k < Arrays; ++k) loops.stride[k][loops.rank] = strides[k][d];
    ++loops.rank;
  }
  return loops;
}

/// Merges every dimension with the one inside it where all arrays allow it.
template <std::size_t Arrays>
void merge(Loops<Arrays>& loops) {
  int last = 0;
  for (int d = 1; d < loops.rank; ++d) {
    bool even = true;
    for (const auto& stride : loops.stride) even = even && stride[last] == stride[d] * loops.size[d];
    if (!even) ++last;
    loops.size[last] = even ? loops.size[last] * loops.size[d] : loops.size[d];
    for (auto& stride : loops.stride) stride[last] = stride[d];
  }
  loops.rank = std::min(loops.rank, last + 1);
}

/// A position in a loop nest: the offset of every array, moved on one step of the innermost dimension at a
/// time.
template <std::size_t Arrays>
class Odometer {
 public:
  Odometer(const Loops<Arrays>& loops, std::int64_t position) : loops_(loops) {
    for (int d = loops.rank - 1; d >= 0; --d) {
      index_[d] = position % loops.size[d];
      position /= loops.size[d];
      for (std::size_t k = 0; k < Arrays; ++k) offset_[k] += index_[d] * loops.stride[k][d];
    }
  }
  std::int64_t offset(std::size_t array) const { return offset_[array]; }
  void step() {
    for (int d = loops_.rank - 1; d >= 0; --d) {
      for (std::size_t k = 0; k < Arrays; ++k) offset_[k] += loops_.stride[k][d];
      if (++index_[d] < loops_.size[d]) return;
      for (std::size_t k = 0; k < Arrays; ++k) offset_[k] -= loops_.size[d] * loops_.stride[k][d];
      index_[d] = 0;
    }
  }

 private:
  const Loops<Arrays>& loops_;
  std::array<std::int64_t, kMaxRank> index_{};
  std::array<std::int64_t, Arrays> offset_{};
};

/// Strides that walk `shape` along with a larger one of the same rank: 0 in dimensions of size 1.
inline Strides broadcast_strides(const Shape& shape) {
  Strides strides = shape.strides();
  for (int d = 0; d < shape.rank(); ++d)
    if (shape[d] == 1) strides[d] = 0;
  return strides;
}

}  // namespace om::cpu
