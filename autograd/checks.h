// What the ops share: promotion, broadcasting of shapes, and the errors about them.
#pragma once

#include <algorithm>

#include "autograd/ops.h"
#include "autograd/record.h"

namespace om::detail {

inline void same_backend(const char* op, const Tensor& a, const Tensor& b) {
  if (&a.backend() != &b.backend())
    fail(op, ": operands live on different backends (", a.backend().name(), ", ", b.backend().name(), ")");
}

inline void expect_floating(const char* op, const Tensor& x) {
  if (!is_floating(x.dtype()))
    fail(op, ": expects a floating dtype, got ", name_of(x.dtype()), " (x ", x.shape(), ")");
}

inline void expect_rank(const char* op, const char* name, const Tensor& x, int rank) {
  if (x.rank() != rank) fail(op, ": expects ", name, " of rank ", rank, ", got ", x.shape());
}

/// The wider of two dtypes: integers below floats, bf16 < f32 < f64.
inline DType promoted(DType a, DType b) {
  const auto width = [](DType d) {
    switch (d) {
      case DType::u8: return 0;
      case DType::i32: return 1;
      case DType::bf16: return 2;
      case DType::f32: return 3;
      case DType::f64: return 4;
    }
    return 0;
  };
  return width(a) >= width(b) ? a : b;
}

/// The shape that a and b broadcast to.
inline Shape broadcast_shape(const char* op, const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  Shape result;
  for (int i = 0; i < rank; ++i) {
    const int ia = i - (rank - a.rank()), ib = i - (rank - b.rank());
    const std::int64_t sa = ia < 0 ? 1 : a[ia], sb = ib < 0 ? 1 : b[ib];
    if (sa != sb && sa != 1 && sb != 1) fail(op, ": shapes ", a, " and ", b, " do not broadcast");
    result.append(sa == 1 ? sb : sa);
  }
  return result;
}

/// `shape` extended by leading ones to `rank` dimensions.
inline Shape aligned(const Shape& shape, int rank) {
  Shape result;
  for (int i = shape.rank(); i < rank; ++i) result.append(1);
  for (std::int64_t size : shape) result.append(size);
  return result;
}

/// x as a kernel sees it next to operands of `rank` dimensions.
inline In aligned_in(const Tensor& x, int rank) {
  In in = x.in();
  in.shape = aligned(in.shape, rank);
  return in;
}

/// The index of dimension i, which may count from the back.
inline int dimension(const char* op, int i, const Tensor& x) {
  const int j = i < 0 ? i + x.rank() : i;
  if (j < 0 || j >= x.rank()) fail(op, ": dimension ", i, " of ", x.shape());
  return j;
}

}  // namespace om::detail
