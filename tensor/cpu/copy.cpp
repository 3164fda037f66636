// strided_copy. Dimensions are put in the order in which y lies in memory and merged; the two innermost loops
// then form a block: runs (memcpy), repeated values, a transposition, or, rarely, anything else.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/loops.h"
#include "tensor/cpu/parallel.h"

namespace om {
namespace {

using namespace cpu;

constexpr std::size_t kX = 0, kY = 1;
using Nest = Loops<2>;

/// Largest y stride outermost; the order of dimensions does not matter to the result.
void sort_by_target(Nest& nest) {
  for (int i = 1; i < nest.rank; ++i)
    for (int d = i; d > 0 && std::abs(nest.stride[kY][d - 1]) < std::abs(nest.stride[kY][d]); --d) {
      std::swap(nest.size[d - 1], nest.size[d]);
      for (auto& stride : nest.stride) std::swap(stride[d - 1], stride[d]);
    }
}

/// Rows that lie along x into columns that lie along y, in squares that stay in the first-level cache.
template <class T>
void transpose(T* y, const T* x, const Nest::Dimension& row, const Nest::Dimension& column) {
  constexpr std::int64_t kSquare = 16;
  for (std::int64_t r0 = 0; r0 < row.size; r0 += kSquare)
    for (std::int64_t c0 = 0; c0 < column.size; c0 += kSquare) {
      const std::int64_t r1 = std::min(r0 + kSquare, row.size), c1 = std::min(c0 + kSquare, column.size);
      for (std::int64_t r = r0; r < r1; ++r)
        for (std::int64_t c = c0; c < c1; ++c)
          y[r * row.stride[kY] + c] = x[r * row.stride[kX] + c * column.stride[kX]];
    }
}

bool is_transposition(const Nest::Dimension& row, const Nest::Dimension& column) {
  return column.stride[kY] == 1 && std::abs(column.stride[kX]) > 1 && row.size > 1 &&
         std::abs(row.stride[kX]) == 1;
}

template <class T>
void copy_block(T* y, const T* x, const Nest::Dimension& row, const Nest::Dimension& column) {
  const std::int64_t x_step = column.stride[kX], y_step = column.stride[kY];
  if (is_transposition(row, column)) return transpose(y, x, row, column);
  for (std::int64_t r = 0; r < row.size; ++r) {
    T* to = y + r * row.stride[kY];
    const T* from = x + r * row.stride[kX];
    if (y_step == 1 && x_step == 1 && column.size >= 16) {
      std::memcpy(to, from, static_cast<std::size_t>(column.size) * sizeof(T));
    } else if (y_step == 1 && x_step == 0) {
      std::fill_n(to, column.size, *from);
    } else {
      for (std::int64_t c = 0; c < column.size; ++c) to[c * y_step] = from[c * x_step];
    }
  }
}

template <class T>
void copy_nest(T* y, const T* x, Nest nest) {
  const auto column = nest.take(nest.rank - 1);
  // The block's rows: the dimension along which x is contiguous if the columns are not, else the next one.
  int along = nest.rank - 1;
  if (column.stride[kX] != 0 && column.stride[kX] != 1)
    for (int d = 0; d < nest.rank; ++d)
      if (std::abs(nest.stride[kX][d]) == 1) along = d;
  const auto row = nest.take(along);

  const std::int64_t columns = std::min(column.size, is_transposition(row, column) ? 128 : kTile);
  const std::int64_t rows = std::clamp<std::int64_t>(kTile / columns, 1, row.size);
  const std::int64_t pieces = (column.size + columns - 1) / columns;
  const std::int64_t inner = pieces * ((row.size + rows - 1) / rows);
  const std::int64_t per_tile = std::max<std::int64_t>(1, kTile / (rows * columns));
  parallel_tiles(nest.elements() * inner, per_tile, [&](std::int64_t begin, std::int64_t end) {
    Odometer<2> at(nest, begin / inner);
    std::int64_t block = begin % inner;
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const std::int64_t r = block / pieces * rows, c = block % pieces * columns;
      auto some_rows = row, some_columns = column;
      some_rows.size = std::min(rows, row.size - r);
      some_columns.size = std::min(columns, column.size - c);
      copy_block(y + at.offset(kY) + r * row.stride[kY] + c * column.stride[kY],
                 x + at.offset(kX) + r * row.stride[kX] + c * column.stride[kX], some_rows, some_columns);
      if (++block == inner) {
        block = 0;
        at.step();
      }
    }
  });
}

}  // namespace

void CpuBackend::strided_copy(In x, std::int64_t x_offset, const Strides& x_strides, Out y,
                              std::int64_t y_offset, const Strides& y_strides, const Shape& extent) {
  if (extent.elements() == 0) return;
  Nest nest = make_loops<2>(extent, {x_strides, y_strides});
  sort_by_target(nest);
  merge(nest);
  const auto run = [&]<class T>(Type<T>) { copy_nest(y.as<T>() + y_offset, x.as<T>() + x_offset, nest); };
  switch (size_of(y.dtype)) {
    case 8: return run(Type<std::uint64_t>{});
    case 4: return run(Type<std::uint32_t>{});
    case 2: return run(Type<std::uint16_t>{});
    default: return run(Type<std::uint8_t>{});
  }
}

}  // namespace om
