// reduce. The dimensions merge into alternating kept and reduced groups; each reduced group is one pass over
// [A, R, C] -> [A, C], the last group first, with double results in between.
//
// A pass adds eight rows pairwise in the element's own precision, then on to a double per column: the error
// of a sum is that of three float additions. Few columns are folded: [R, C] is read as [R / F, F C] and the F
// partial results are joined at the end. Where A and C give too few tiles, R is cut into chunks whose results
// are joined in order; the cuts depend on the shape alone.
#include <algorithm>
#include <limits>
#include <vector>

#include "tensor/cpu/convert.h"
#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/loops.h"
#include "tensor/cpu/parallel.h"
#include "tensor/scratch.h"

namespace om {
namespace {

using namespace cpu;

struct Sum {
  static constexpr double kIdentity = 0;
  template <class T>
  static T join(T a, T b) {
    return a + b;
  }
};

/// NaN wins.
struct Max {
  static constexpr double kIdentity = -std::numeric_limits<double>::infinity();
  template <class T>
  static T join(T a, T b) {
    const T larger = b > a ? b : a;
    return b != b ? b : larger;
  }
};

constexpr std::int64_t kWide = 1024;  // columns per tile
constexpr std::int64_t kFolded = 64;  // columns after folding

/// total[c] = join of total[c] and the rows' x[r * stride + c].
template <class Op, class X>
inline __attribute__((always_inline)) void add_rows(const X* x, std::int64_t rows, std::int64_t stride,
                                                    std::int64_t columns, double* total) {
  using C = Computed<X>;
  constexpr std::int64_t kRows = 8;
  std::int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) {
    const X* p = x + r * stride;
#pragma omp simd
    for (std::int64_t c = 0; c < columns; ++c) {
      const auto at = [&](std::int64_t row) { return load(p[row * stride + c]); };
      const C low = Op::join(Op::join(at(0), at(1)), Op::join(at(2), at(3)));
      const C high = Op::join(Op::join(at(4), at(5)), Op::join(at(6), at(7)));
      total[c] = Op::join(total[c], static_cast<double>(Op::join(low, high)));
    }
  }
  for (; r < rows; ++r) {
    const X* p = x + r * stride;
#pragma omp simd
    for (std::int64_t c = 0; c < columns; ++c) total[c] = Op::join(total[c], static_cast<double>(load(p[c])));
  }
}

/// Joins the 2 Half values into the first.
template <class Op, int Half>
void fold(double* values) {
  for (int c = 0; c < Half; ++c) values[c] = Op::join(values[c], values[c + Half]);
  if constexpr (Half > 1) fold<Op, Half / 2>(values);
}

/// Joins all elements of a line, as add_rows does with kLanes columns.
template <class Op, class X>
double reduce_line(const X* x, std::int64_t count) {
  constexpr std::int64_t kLanes = 16;
  double total[kLanes];
  total[0] = Op::kIdentity;
  const std::int64_t rows = count / kLanes;
  if (rows > 0) {
    std::fill_n(total, kLanes, Op::kIdentity);
    add_rows<Op>(x, rows, kLanes, kLanes, total);
    fold<Op, kLanes / 2>(total);
  }
  for (std::int64_t i = rows * kLanes; i < count; ++i)
    total[0] = Op::join(total[0], static_cast<double>(load(x[i])));
  return total[0];
}

/// result[c] = join over all rows, at most kWide columns.
template <class Op, class X>
void reduce_rows(const X* x, std::int64_t rows, std::int64_t stride, std::int64_t columns, double* result) {
  if (columns == 1 && stride == 1) {
    *result = reduce_line<Op>(x, rows);
    return;
  }
  std::int64_t factor = 1;
  if (stride == columns)
    while (2 * factor * columns <= kFolded && 16 * factor <= rows) factor *= 2;
  if (factor == 1) {
    std::fill_n(result, columns, Op::kIdentity);
    return add_rows<Op>(x, rows, stride, columns, result);
  }
  double total[kFolded];
  const std::int64_t wide = factor * columns, wide_rows = rows / factor;
  std::fill_n(total, wide, Op::kIdentity);
  add_rows<Op>(x, wide_rows, wide, wide, total);
  add_rows<Op>(x + wide_rows * wide, rows - wide_rows * factor, columns, columns, total);
  for (std::int64_t half = wide / 2; half >= columns; half /= 2)
    for (std::int64_t c = 0; c < half; ++c) total[c] = Op::join(total[c], total[c + half]);
  std::copy_n(total, columns, result);
}

/// One pass: y[a, c] = join over r of x[a, r, c].
template <class Op, class X, class Y>
void reduce_middle(const X* x, std::int64_t outer, std::int64_t rows, std::int64_t columns, Y* y,
                   CachingAllocator& memory) {
  const std::int64_t wide = std::min(columns, kWide), pieces = (columns + wide - 1) / wide;
  const std::int64_t units = outer * pieces;
  const std::int64_t wanted = std::min<std::int64_t>(64, outer * rows * columns / (2 * kTile));
  const std::int64_t chunks =
      units >= 16 ? 1 : std::max<std::int64_t>(1, std::min(wanted / units, rows / 64));
  const std::int64_t chunk_rows = (rows + chunks - 1) / chunks;
  const auto reduce_unit = [&](std::int64_t unit, std::int64_t first, std::int64_t last, double* result) {
    const std::int64_t c = unit % pieces * wide;
    reduce_rows<Op>(x + (unit / pieces * rows + first) * columns + c, last - first, columns,
                    std::min(wide, columns - c), result);
  };

  if (chunks == 1) {
    const std::int64_t per_tile = std::max<std::int64_t>(1, kTile / (wide * std::max<std::int64_t>(1, rows)));
    return parallel_tiles(units, per_tile, [&](std::int64_t begin, std::int64_t end) {
      double result[kWide];
      for (std::int64_t unit = begin; unit < end; ++unit) {
        reduce_unit(unit, 0, rows, result);
        const std::int64_t c = unit % pieces * wide;
        Y* target = y + unit / pieces * columns + c;
        for (std::int64_t i = 0; i < std::min(wide, columns - c); ++i) convert(result[i], target[i]);
      }
    });
  }
  const Scratch scratch(memory, static_cast<std::size_t>(units * chunks * wide) * sizeof(double));
  double* partial = scratch.as<double>();  // [units, chunks, wide]
  parallel_for(units * chunks, [&](std::int64_t i) {
    const std::int64_t first = i % chunks * chunk_rows;
    reduce_unit(i / chunks, std::min(first, rows), std::min(first + chunk_rows, rows), partial + i * wide);
  });
  for (std::int64_t unit = 0; unit < units; ++unit) {
    const std::int64_t c = unit % pieces * wide;
    Y* target = y + unit / pieces * columns + c;
    for (std::int64_t i = 0; i < std::min(wide, columns - c); ++i) {
      double total = Op::kIdentity;
      for (std::int64_t k = 0; k < chunks; ++k)
        total = Op::join(total, partial[(unit * chunks + k) * wide + i]);
      convert(total, target[i]);
    }
  }
}

/// Neighbouring dimensions that are all kept or all reduced.
struct Group {
  std::int64_t size;
  bool reduced;
};

std::vector<Group> groups_of(const Shape& x, const Shape& y) {
  std::vector<Group> groups;
  for (int d = 0; d < x.rank(); ++d) {
    if (x[d] == 1) continue;
    const bool reduced = y[d] == 1;
    if (!groups.empty() && groups.back().reduced == reduced)
      groups.back().size *= x[d];
    else
      groups.push_back({x[d], reduced});
  }
  return groups;
}

/// Reduces the last reduced group into y, any before it by way of double arrays.
template <class Op, class X, class Y>
void reduce_groups(const X* x, std::vector<Group> groups, Y* y, CachingAllocator& memory) {
  std::int64_t outer = 1, rows = 1, columns = 1;
  std::size_t last = groups.size();
  while (last > 0 && !groups[last - 1].reduced) columns *= groups[--last].size;
  if (last > 0) rows = groups[last - 1].size;
  bool more = false;
  for (std::size_t g = 0; g + 1 < last; ++g) {
    outer *= groups[g].size;
    more = more || groups[g].reduced;
  }
  if (!more) return reduce_middle<Op>(x, outer, rows, columns, y, memory);
  const Scratch scratch(memory, static_cast<std::size_t>(outer * columns) * sizeof(double));
  reduce_middle<Op>(x, outer, rows, columns, scratch.as<double>(), memory);
  groups.resize(last - 1);
  if (columns > 1) groups.push_back({columns, false});
  reduce_groups<Op>(static_cast<const double*>(scratch.as<double>()), groups, y, memory);
}

}  // namespace

void CpuBackend::reduce(ReduceOp op, In x, Out y) {
  if (x.shape.elements() == 0) return fill(y, op == ReduceOp::sum ? Sum::kIdentity : Max::kIdentity);
  const auto groups = groups_of(x.shape, y.shape);
  dispatch_floating("reduce", x.dtype, [&]<class X>(Type<X>) {
    dispatch_floating("reduce", y.dtype, [&]<class Y>(Type<Y>) {
      if (op == ReduceOp::sum)
        reduce_groups<Sum>(x.as<X>(), groups, y.as<Y>(), memory());
      else
        reduce_groups<Max>(x.as<X>(), groups, y.as<Y>(), memory());
    });
  });
}

}  // namespace om
