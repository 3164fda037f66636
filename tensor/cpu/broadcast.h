// Elementwise kernels over operands that broadcast. Whatever the shapes, the kernel itself only ever sees
// runs in which each operand is either one element after the other or one value.
//
// Where the innermost loop is short ([N, H, W, 3] with [1, 1, 1, 3] or with [N, H, W, 1]), several of its
// rounds are taken at once: an operand that does not lie densely over them is first written out into a
// buffer, which is kept as long as it repeats.
#pragma once

#include <tuple>
#include <utility>

#include "tensor/cpu/loops.h"
#include "tensor/cpu/parallel.h"

namespace om::cpu {

/// A run of one operand: `data` points at its elements, or at its one value.
template <class T>
struct Run {
  const T* data;
  bool dense;
};

template <class T>
struct Operand {
  const T* data;
  Shape shape;
};

constexpr std::int64_t kShortRow = 64;  // rows below this are taken several at once
constexpr std::int64_t kBuffer = 1024;  // elements of such a group

/// One operand's elements over `rows` rows of `columns` elements.
template <class T>
class Expanded {
 public:
  Expanded() {}  // leaves the buffer as it is

  Run<T> run(const T* data, std::int64_t rows, std::int64_t columns, std::int64_t row_stride,
             std::int64_t stride) {
    if (rows == 1 || row_stride == stride * columns) return {data, stride != 0};
    if (data != source_ || rows > rows_) {
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t c = 0; c < columns; ++c)
          buffer_[r * columns + c] = data[r * row_stride + c * stride];
      source_ = data;
      rows_ = rows;
    }
    return {buffer_, true};
  }

 private:
  const T* source_ = nullptr;
  std::int64_t rows_ = 0;
  T buffer_[kBuffer];
};

/// Covers y (dense, of `shape`) with calls kernel(y + offset, count, runs...), one run per operand.
template <class Y, class Kernel, class... Xs>
void broadcast_runs(Y* y, const Shape& shape, const Kernel& kernel, const Operand<Xs>&... operands) {
  constexpr std::size_t kCount = sizeof...(Xs);
  if (shape.elements() == 0) return;
  Loops<kCount> loops = make_loops<kCount>(shape, {broadcast_strides(operands.shape)...});
  merge(loops);
  const auto column = loops.take(loops.rank - 1);
  const bool is_short = column.size < kShortRow;
  typename Loops<kCount>::Dimension row;
  if (is_short) row = loops.take(loops.rank - 1);
  const std::int64_t group = is_short ? std::max<std::int64_t>(1, kBuffer / column.size) : 1;
  const std::int64_t groups = (row.size + group - 1) / group;
  // A long row is cut into pieces; several short units share a tile.
  const std::int64_t pieces = (column.size + kTile - 1) / kTile;
  const std::int64_t outer = loops.elements(), units = outer * groups * pieces;
  const std::int64_t unit_elements = std::min(column.size, kTile) * std::min(group, row.size);
  parallel_tiles(
      units, std::max<std::int64_t>(1, kTile / unit_elements), [&](std::int64_t begin, std::int64_t end) {
        std::tuple<Expanded<Xs>...> expanded;
        std::int64_t inner = begin % (groups * pieces);
        Odometer<kCount> at(loops, begin / (groups * pieces));
        for (std::int64_t unit = begin; unit < end; ++unit) {
          const std::int64_t first_row = inner / pieces * group, first_column = inner % pieces * kTile;
          const std::int64_t rows = std::min(group, row.size - first_row);
          const std::int64_t columns = std::min(kTile, column.size - first_column);
          Y* target = y + (unit / (groups * pieces) * row.size + first_row) * column.size + first_column;
          [&]<std::size_t... K>(std::index_sequence<K...>) {
            kernel(target, rows * columns,
                   std::get<K>(expanded).run(operands.data + at.offset(K) + first_row * row.stride[K] +
                                                 first_column * column.stride[K],
                                             rows, columns, row.stride[K], column.stride[K])...);
          }
          (std::index_sequence_for<Xs...>{});
          if (++inner == groups * pieces) {
            inner = 0;
            at.step();
          }
        }
      });
}

}  // namespace om::cpu
