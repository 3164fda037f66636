// Matrix products for matmul and the convolutions: C[m, n] = sum over k of A[m, k] B[k, n].
//
// The scheme is Goto's ("Anatomy of high-performance matrix multiplication", 2008) with one change: A is
// packed only where its numbers lie badly (packs_rows). A row of A is a list of `taps` pointers to `depth`
// numbers each, a fixed step apart, k = (tap, channel), so a convolution hands out pointers into its image
// (or to a row of zeros outside it) and needs no im2col buffer; a plain matrix has one tap, a transposed one
// a long step. B is packed into panels of Kernels::columns columns, either once for all (many rows) or by
// each task for itself (few rows: weights are then read once, in order, and a long sum may be cut into parts
// that are added at the end).
//
// Tiles and the order of every sum depend on the sizes alone, so results do not depend on the number of
// threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tensor/cpu/kernels.h"
#include "tensor/cpu/parallel.h"
#include "tensor/scratch.h"

namespace om::cpu {

struct GemmSize {
  std::int64_t m, n, taps, depth;
  std::int64_t k() const { return taps * depth; }
  double flops() const {
    return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k());
  }
};

/// A range of k that one microkernel call runs over: channels [first, first + count) of taps [tap, tap +
/// taps).
struct KBlock {
  std::int64_t tap, taps, first, count;
  std::int64_t length() const { return taps * count; }
};
std::vector<KBlock> split_k(std::int64_t taps, std::int64_t depth);

/// Below this much work a parallel region costs more than it gives.
constexpr double kParallelFlops = 2e5;
inline int gemm_threads(double flops) { return flops < kParallelFlops ? 1 : threads(); }

constexpr std::int64_t round_up(std::int64_t value, std::int64_t step) {
  return (value + step - 1) / step * step;
}

/// Some columns of B for a block of k: row k is `step` numbers after row k - 1.
template <class T>
struct Panel {
  const T* data;
  std::int64_t step;
};

constexpr std::int64_t kSmallBytes = 16 << 10;  // of panels, a part of the first-level cache

/// Whether a block of A is copied before `panels` panels use it. Where it lies, its rows may be a multiple of
/// 4096 bytes apart: then all fall on the same few places of the first-level cache, and each panel has to
/// fetch them again. With the rows of one tile alone there is nothing to gain.
template <class T, class Rows>
bool packs_rows(const GemmSize& size, const Rows& rows, std::int64_t panels) {
  return size.m > kernels<T>().rows && rows.clash(panels);
}

/// TileTask::ahead_lines for a product of `rows` rows with a panel while the next panel, of the same length,
/// is far away: each tile of rows fetches its share of it, so that it is there when the last tile is done.
template <class T>
std::int64_t lines_ahead(std::int64_t rows) {
  const std::int64_t tiles = (rows + kernels<T>().rows - 1) / kernels<T>().rows;
  return (kernels<T>().columns + tiles - 1) / tiles;
}

template <class T>
std::int64_t packed_bytes(std::int64_t rows, std::int64_t length) {
  return round_up(round_up(rows, kernels<T>().rows) * length * static_cast<std::int64_t>(sizeof(T)), 64);
}

/// What one thread needs for `rows` rows of A and C.
template <class T, class Rows>
struct RowTable {
  using Row = typename Rows::Row;

  static std::int64_t bytes(std::int64_t rows, std::int64_t taps) {
    const std::int64_t padded = round_up(rows, kernels<T>().rows);
    return round_up(padded * static_cast<std::int64_t>(sizeof(Row)), 64) + padded * (taps + 1) * 8;
  }

  RowTable(void* memory, std::int64_t rows)
      : states(static_cast<Row*>(memory)),
        padded(round_up(rows, kernel.rows)),
        c(reinterpret_cast<T**>(static_cast<char*>(memory) +
                                round_up(padded * static_cast<std::int64_t>(sizeof(Row)), 64))),
        pointers(const_cast<const T**>(c + padded)) {}

  /// Rows beyond `count` repeat the last one; their results are dropped.
  template <class RowsC>
  void start(const Rows& rows, const RowsC& rows_c, std::int64_t first, std::int64_t count) {
    used = count;
    rows.start(first, count, states);
    rows_c(first, count, c);
    for (std::int64_t i = count; i < round_up(count, kernel.rows); ++i) {
      states[i] = states[count - 1];
      c[i] = c[count - 1];
    }
  }

  /// Makes the pointers of a block; with `room` for all of its numbers, they point to a copy there.
  void point(const Rows& rows, const KBlock& block, T* room = nullptr) {
    const T** __restrict out = pointers;
    const std::int64_t tile = kernel.rows;
    step = rows.step();
    offset = block.first * step;
    for (std::int64_t i = 0; i < used; i += tile)
      for (std::int64_t tap = block.tap; tap < block.tap + block.taps; ++tap, out += tile)
        for (std::int64_t j = 0; j < tile; ++j) out[j] = rows.at(states[i + j], tap);
    if (room != nullptr) pack(block, room);
  }

  /// The tile of rows that begins at row i against one panel.
  void multiply_tile(std::int64_t i, const KBlock& block, const Panel<T>& panel, std::int64_t column,
                     std::int64_t columns, bool add, const T* ahead = nullptr, std::int64_t lines = 0) const {
    kernel.multiply_tile({pointers + i * block.taps, block.taps, offset, block.count, step, panel.data,
                          panel.step, c + i, column, std::min<std::int64_t>(kernel.rows, used - i), columns,
                          add, ahead, lines});
  }

  /// All rows against one panel; meanwhile the one at `ahead`, if any, is fetched.
  void multiply(const KBlock& block, const Panel<T>& panel, std::int64_t column, std::int64_t columns,
                bool add, const T* ahead = nullptr) const {
    const std::int64_t lines = ahead == nullptr ? 0 : lines_ahead<T>(used);
    for (std::int64_t i = 0; i < used; i += kernel.rows) {
      multiply_tile(i, block, panel, column, columns, add, ahead, lines);
      if (ahead != nullptr) ahead += block.length() * lines;
    }
  }

  /// All rows against all panels of a block, packed one after the other. Where all are small they stay close,
  /// and C is better written row by row.
  void multiply_all(const KBlock& block, const T* panels, std::int64_t columns, bool add) const {
    const std::int64_t width = kernel.columns, size = width * block.length();
    if (round_up(columns, width) * block.length() * static_cast<std::int64_t>(sizeof(T)) <= kSmallBytes) {
      for (std::int64_t i = 0; i < used; i += kernel.rows)
        multiply_tile(i, block, {panels, width}, 0, columns, add);
      return;
    }
    for (std::int64_t column = 0; column < columns; column += width, panels += size)
      multiply(block, {panels, width}, column, std::min(width, columns - column), add,
               column + width < columns ? panels + size : nullptr);
  }

  void pack(const KBlock& block, T* room) {
    const std::int64_t tile = kernel.rows;
    for (const T** rows = pointers; rows < pointers + round_up(used, tile) * block.taps; rows += tile) {
      for (std::int64_t j = 0; j < tile; ++j) rows[j] += offset;
      kernel.pack_tile(rows, step, block.count, room);
      for (std::int64_t j = 0; j < tile; ++j) rows[j] = room + j;
      room += block.count * tile;
    }
    step = tile;
    offset = 0;
  }

  const Kernels<T>& kernel = kernels<T>();
  Row* states;
  std::int64_t padded;
  T** c;
  const T** pointers;
  std::int64_t used = 0, step = 1, offset = 0;
};

constexpr std::int64_t kFewRows = 512;           // at most this many rows: each task packs its own part of B
constexpr std::int64_t kSharedBytes = 24 << 20;  // of B packed at a time

/// How the work on few rows is cut: a task is a group of panels and a range of the k-blocks.
struct FewRowsTasks {
  FewRowsTasks(std::int64_t panels, std::int64_t blocks) : group(std::clamp<std::int64_t>(panels / 8, 1, 4)) {
    constexpr std::int64_t kEnough = 16, kLeastBlocks = 4;
    const auto cut = [&](std::int64_t panels_at_once) {
      const std::int64_t groups = (panels + panels_at_once - 1) / panels_at_once;
      return std::clamp<std::int64_t>(kEnough / groups, 1, std::max<std::int64_t>(1, blocks / kLeastBlocks));
    };
    // A long sum is rather cut into parts than A read again for each panel.
    for (const std::int64_t wide : {4, 2})
      if (group < wide && cut(wide) * ((panels + wide - 1) / wide) >= kEnough / 2) group = wide;
    group = std::min(group, panels);
    groups = (panels + group - 1) / group;
    parts = cut(group);
  }
  std::int64_t group, groups, parts;
};

/// Few rows: a task asks panel_of(block, column, columns, buffer) for its part of B piece by piece (packed
/// into the buffer, or where it lies) and meets every row with it. All parts of the sum but the first go to
/// buffers, which are added in order.
template <class T, class Rows, class PanelOf, class RowsC>
void gemm_few_rows(CachingAllocator& memory, const GemmSize& size, const Rows& rows, const PanelOf& panel_of,
                   const RowsC& rows_c) {
  const std::int64_t tile_columns = kernels<T>().columns;
  const std::vector<KBlock> blocks = split_k(size.taps, size.depth);
  const std::int64_t panels = (size.n + tile_columns - 1) / tile_columns,
                     block_count = static_cast<std::int64_t>(blocks.size());
  const FewRowsTasks tasks(panels, block_count);
  const int workers = gemm_threads(size.flops());
  std::int64_t longest = 0, most_taps = 0;
  for (const KBlock& block : blocks) {
    longest = std::max(longest, block.length());
    most_taps = std::max(most_taps, block.taps);
  }
  const std::int64_t table_bytes = round_up(RowTable<T, Rows>::bytes(size.m, most_taps), 64);
  const std::int64_t panel_bytes = longest * tile_columns * static_cast<std::int64_t>(sizeof(T));
  const bool packs = packs_rows<T>(size, rows, tasks.group);
  const std::int64_t room_bytes = packs ? packed_bytes<T>(size.m, longest) : 0;
  const std::int64_t own_bytes = table_bytes + panel_bytes + room_bytes;
  Scratch scratch(memory, static_cast<std::size_t>(own_bytes * workers));
  Scratch parts(memory, sizeof(T) * static_cast<std::size_t>((tasks.parts - 1) * size.m * size.n));
  const auto part_row = [&](std::int64_t part, std::int64_t m) {
    return parts.as<T>() + ((part - 1) * size.m + m) * size.n;
  };
  parallel_for(workers, tasks.groups * tasks.parts, [&](std::int64_t task, int member) {
    char* mine = scratch.as<char>() + member * own_bytes;
    RowTable<T, Rows> table(mine, size.m);
    T* buffer = reinterpret_cast<T*>(mine + table_bytes);
    T* room = packs ? reinterpret_cast<T*>(mine + table_bytes + panel_bytes) : nullptr;
    const std::int64_t part = task / tasks.groups, first = task % tasks.groups * tasks.group;
    const std::int64_t last = std::min(panels, first + tasks.group);
    const std::int64_t from = part * block_count / tasks.parts, to = (part + 1) * block_count / tasks.parts;
    if (part == 0)
      table.start(rows, rows_c, 0, size.m);
    else
      table.start(
          rows,
          [&](std::int64_t m, std::int64_t count, T** c) {
            for (std::int64_t i = 0; i < count; ++i) c[i] = part_row(part, m + i);
          },
          0, size.m);
    for (std::int64_t b = from; b < to; ++b) {
      const KBlock& block = blocks[static_cast<std::size_t>(b)];
      table.point(rows, block, room);
      for (std::int64_t p = first; p < last; ++p) {
        const std::int64_t column = p * tile_columns, columns = std::min(tile_columns, size.n - column);
        table.multiply(block, panel_of(block, column, columns, buffer), column, columns, b > from);
      }
    }
  });
  if (tasks.parts == 1) return;
  parallel_pieces(workers, size.m, [&](std::int64_t m) {
    T* c = nullptr;
    rows_c(m, 1, &c);
    for (std::int64_t part = 1; part < tasks.parts; ++part) {
      const T* more = part_row(part, m);
      for (std::int64_t j = 0; j < size.n; ++j) c[j] += more[j];
    }
  });
}

/// Many rows: B is packed for all (in slices of kSharedBytes), then one task per block of rows.
template <class T, class Rows, class PackB, class RowsC>
void gemm_many_rows(CachingAllocator& memory, const GemmSize& size, const Rows& rows, const PackB& pack_b,
                    const RowsC& rows_c) {
  const std::int64_t tile_columns = kernels<T>().columns, tile_rows = kernels<T>().rows;
  const int workers = gemm_threads(size.flops());
  const std::vector<KBlock> blocks = split_k(size.taps, size.depth);
  const std::int64_t panels = (size.n + tile_columns - 1) / tile_columns;
  const std::int64_t step =
      std::clamp<std::int64_t>(round_up(size.m / 16, tile_rows), tile_rows, 16 * tile_rows);
  const std::int64_t tasks = (size.m + step - 1) / step;
  const std::int64_t limit = std::max<std::int64_t>(
      1, kSharedBytes / (panels * tile_columns * static_cast<std::int64_t>(sizeof(T))));
  std::int64_t most_taps = 0, all = 0, longest = 0;
  for (const KBlock& block : blocks) {
    most_taps = std::max(most_taps, block.taps);
    longest = std::max(longest, block.length());
    all += block.length();
  }
  const std::int64_t slice = std::min(all, std::max(limit, longest));
  const std::int64_t table_bytes = round_up(RowTable<T, Rows>::bytes(step, most_taps), 64);
  Scratch packed_memory(memory, static_cast<std::size_t>(slice * panels * tile_columns) * sizeof(T));
  const bool packs = packs_rows<T>(size, rows, panels);
  const std::int64_t own_bytes = table_bytes + (packs ? packed_bytes<T>(step, longest) : 0);
  Scratch tables(memory, static_cast<std::size_t>(own_bytes * workers));
  T* packed = packed_memory.as<T>();

  for (std::size_t from = 0; from < blocks.size();) {
    std::size_t to = from;
    std::vector<std::int64_t> start;  // of each block in `packed`, in numbers
    for (std::int64_t length = 0; to < blocks.size() && length + blocks[to].length() <= slice; ++to) {
      start.push_back(length * panels * tile_columns);
      length += blocks[to].length();
    }
    const std::int64_t pieces = static_cast<std::int64_t>(to - from) * panels;
    parallel_pieces(workers, pieces, [&](std::int64_t piece) {
      const std::int64_t b = piece / panels, column = piece % panels * tile_columns;
      const KBlock& block = blocks[from + static_cast<std::size_t>(b)];
      T* panel = packed + start[static_cast<std::size_t>(b)] + column * block.length();
      for (std::int64_t t = 0; t < block.taps; ++t)
        pack_b(block.tap + t, block.first, block.count, column, std::min(tile_columns, size.n - column),
               panel + t * block.count * tile_columns);
    });
    parallel_for(workers, tasks, [&](std::int64_t task, int member) {
      char* mine = tables.as<char>() + member * own_bytes;
      RowTable<T, Rows> table(mine, step);
      T* room = packs ? reinterpret_cast<T*>(mine + table_bytes) : nullptr;
      table.start(rows, rows_c, task * step, std::min(step, size.m - task * step));
      for (std::size_t b = from; b < to; ++b) {
        const KBlock& block = blocks[b];
        table.point(rows, block, room);
        table.multiply_all(block, packed + start[b - from], size.n, b > 0);
      }
    });
    from = to;
  }
}

/// C = A B.
///   rows.start(m, count, states) makes a Rows::Row each, rows.at(row, tap) -> pointer to `depth` numbers,
///   rows.step() apart; rows.clash(panels) see packs_rows; pack_b(tap, first, count, column, columns, panel)
///   fills panel [count, tile_columns] from B's rows (tap, first..) and columns; rows_c(m, count, c) sets
///   pointers to rows of C, n contiguous numbers each.
template <class T, class Rows, class PackB, class RowsC>
void gemm(CachingAllocator& memory, const GemmSize& size, const Rows& rows, const PackB& pack_b,
          const RowsC& rows_c) {
  if (size.m == 0 || size.n == 0) return;
  if (size.k() == 0) {
    for (std::int64_t m = 0; m < size.m; ++m) {
      T* c = nullptr;
      rows_c(m, 1, &c);
      std::fill_n(c, size.n, T(0));
    }
    return;
  }
  const std::int64_t columns = kernels<T>().columns;
  if (size.m > kFewRows || (size.n < 4 * columns && size.m > 4 * kernels<T>().rows))
    return gemm_many_rows<T>(memory, size, rows, pack_b, rows_c);
  const auto packed = [&](const KBlock& block, std::int64_t column, std::int64_t width, T* buffer) {
    for (std::int64_t t = 0; t < block.taps; ++t)
      pack_b(block.tap + t, block.first, block.count, column, width, buffer + t * block.count * columns);
    return Panel<T>{buffer, columns};
  };
  gemm_few_rows<T>(memory, size, rows, packed, rows_c);
}

/// C[m, j] = <row m, weights + j k> for at most 4 columns and rows with step 1: no panel would be full, so
/// the sums run along k instead. store(m, j, value) writes.
template <class T, class Rows, class Store>
void gemm_dots(const GemmSize& size, const Rows& rows, const T* weights, std::int64_t weight_step,
               const Store& store) {
  const int workers = gemm_threads(size.flops());
  const T* weight_rows[4] = {};
  for (std::int64_t j = 0; j < size.n; ++j) weight_rows[j] = weights + j * weight_step;
  constexpr std::int64_t kRows = 32, kTaps = 32;  // rows started, pointers held at a time
  parallel_pieces(workers, (size.m + kRows - 1) / kRows, [&](std::int64_t piece) {
    const std::int64_t first = piece * kRows, used = std::min(kRows, size.m - first);
    typename Rows::Row states[kRows] = {};
    rows.start(first, used, states);
    std::fill(states + used, states + kRows, states[used - 1]);
    for (std::int64_t m = 0; m < used; m += 4) {
      T sums[4][4] = {};
      for (std::int64_t tap = 0; tap < size.taps; tap += kTaps) {
        const std::int64_t taps = std::min(kTaps, size.taps - tap);
        const T* pointers[kTaps * 4];
        for (std::int64_t t = 0; t < taps; ++t)
          for (std::int64_t i = 0; i < 4; ++i) pointers[t * 4 + i] = rows.at(states[m + i], tap + t);
        const T* slice[4] = {};
        for (std::int64_t j = 0; j < size.n; ++j) slice[j] = weight_rows[j] + tap * size.depth;
        kernels<T>().multiply_dots(pointers, taps, size.depth, slice, static_cast<int>(size.n), sums);
      }
      for (std::int64_t i = 0; i < std::min<std::int64_t>(4, used - m); ++i)
        for (std::int64_t j = 0; j < size.n; ++j) store(first + m + i, j, sums[i][j]);
    }
  });
}

/// Rows of a dense matrix; of a transposed one where k_step is not 1.
template <class T>
struct MatrixRows {
  using Row = const T*;
  const T* data;
  std::int64_t row_step, k_step = 1;

  void start(std::int64_t first, std::int64_t count, Row* states) const {
    for (std::int64_t i = 0; i < count; ++i) states[i] = data + (first + i) * row_step;
  }
  const T* at(Row row, std::int64_t) const { return row; }
  std::int64_t step() const { return k_step; }
  /// Numbers far apart, or rows at one and the same distance from the bounds of pages.
  bool clash(std::int64_t panels) const {
    constexpr std::int64_t kFarBytes = 1024, kPageBytes = 4096, kEnoughPanels = 8;
    constexpr auto kBytes = static_cast<std::int64_t>(sizeof(T));
    if (k_step != 1) return k_step * kBytes >= kFarBytes;
    return row_step * kBytes % kPageBytes == 0 && panels >= kEnoughPanels;
  }
};

/// C as a dense matrix.
template <class T>
auto matrix_c(T* data, std::int64_t row_step) {
  return [=](std::int64_t first, std::int64_t count, T** c) {
    for (std::int64_t i = 0; i < count; ++i) c[i] = data + (first + i) * row_step;
  };
}

}  // namespace om::cpu
