// From a flat index to the offsets of several strided operands at once.
//
// The host drops dimensions of size 1 and merges neighbours that every operand walks as one, so dense
// operands end with one dimension and no division. What is left divides by multiplication with a precomputed
// inverse (Granlund and Montgomery, "Division by invariant integers using multiplication", PLDI 1994).
#pragma once

#include <cstdint>

#include "tensor/shape.h"

namespace om::cuda {

/// n / d for 0 <= n < 2^63: with s = ceil(log2 d) and m = floor(2^(63+s) / d) + 1, n / d = (n m) >> (63 + s).
class Divisor {
 public:
  Divisor() = default;
  explicit Divisor(std::int64_t divisor) : divisor_(divisor) {
    while ((std::uint64_t{1} << shift_) < static_cast<std::uint64_t>(divisor)) ++shift_;
    const unsigned __int128 power = static_cast<unsigned __int128>(1) << (63 + shift_);
    magic_ = static_cast<std::uint64_t>(power / static_cast<std::uint64_t>(divisor)) + 1;
  }

#ifdef __CUDACC__
  __device__ std::int64_t divide(std::int64_t n) const {
    if (shift_ == 0) return n;
    return static_cast<std::int64_t>(__umul64hi(static_cast<std::uint64_t>(n), magic_) >> (shift_ - 1));
  }
#endif
  __host__ __device__ std::int64_t value() const { return divisor_; }

 private:
  std::int64_t divisor_ = 1;
  std::uint64_t magic_ = 0;
  int shift_ = 0;
};

template <int Operands>
struct Offsets {
  std::int64_t of[Operands];
};

/// Walks `count` indices in row-major order; the operands are told by their strides in elements.
template <int Operands>
class IndexMap {
 public:
  IndexMap(const Shape& extent, const Strides (&strides)[Operands]) : count_(extent.elements()) {
    for (int d = extent.rank() - 1; d >= 0; --d) {
      const std::int64_t size = extent[d];
      if (size == 1) continue;
      bool merged = rank_ > 0;
      for (int k = 0; k < Operands && merged; ++k)
        merged = strides[k][d] == stride_[rank_ - 1][k] * size_[rank_ - 1].value();
      if (merged && count_ > 0) {
        size_[rank_ - 1] = Divisor(size_[rank_ - 1].value() * size);
        continue;
      }
      size_[rank_] = Divisor(size > 0 ? size : 1);
      for (int k = 0; k < Operands; ++k) stride_[rank_][k] = strides[k][d];
      ++rank_;
    }
  }

  __host__ __device__ std::int64_t count() const { return count_; }
  int rank() const { return rank_; }
  /// Stride of an operand along the innermost dimension left.
  std::int64_t inner_stride(int operand) const { return rank_ > 0 ? stride_[0][operand] : 0; }

  /// Whether the result can be walked `v` neighbours at a time: its innermost dimension is a multiple, and
  /// every operand is dense along it, at multiples of v, or repeats one element.
  bool vectors(int v) const {
    if (rank_ == 0 || size_[0].value() % v != 0) return false;
    for (int k = 0; k < Operands; ++k) {
      if (stride_[0][k] != 0 && stride_[0][k] != 1) return false;
      for (int d = 1; d < rank_ && stride_[0][k] == 1; ++d)
        if (stride_[d][k] % v != 0) return false;
    }
    return true;
  }
  /// The map of those groups of v: index i stands for the elements i v, i v + 1, ...
  IndexMap by(int v) const {
    IndexMap map = *this;
    map.count_ /= v;
    map.size_[0] = Divisor(size_[0].value() / v);
    for (int k = 0; k < Operands; ++k) map.stride_[0][k] *= v;
    return map;
  }

#ifdef __CUDACC__
  __device__ Offsets<Operands> at(std::int64_t index) const {
    Offsets<Operands> offsets{};
#pragma unroll
    for (int d = 0; d < kMaxRank; ++d) {
      if (d >= rank_) break;
      std::int64_t place = index;
      if (d < rank_ - 1) {
        index = size_[d].divide(place);
        place -= index * size_[d].value();
      }
#pragma unroll
      for (int k = 0; k < Operands; ++k) offsets.of[k] += place * stride_[d][k];
    }
    return offsets;
  }
#endif

 private:
  std::int64_t count_;
  int rank_ = 0;
  Divisor size_[kMaxRank];  // innermost first
  std::int64_t stride_[kMaxRank][Operands] = {};
};

/// Strides with which an operand of shape `x`, whose dimensions equal y's or are 1, is read along y.
inline Strides broadcast_strides(const Shape& x, const Shape& y) {
  Strides strides = x.strides();
  for (int d = 0; d < y.rank(); ++d)
    if (x[d] == 1) strides[static_cast<std::size_t>(d)] = 0;
  return strides;
}

}  // namespace om::cuda
