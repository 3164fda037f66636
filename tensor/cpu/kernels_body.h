// The loops behind Kernels, for the vector width that the including file is compiled for. They use the
// compilers' generic vectors, so that one text serves AVX2, AVX-512, SSE and other processors. Internal
// linkage throughout: see kernels.h.
#pragma once

#include <cstdint>
#include <cstring>

#include "tensor/cpu/kernels.h"

namespace om::cpu {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kRows = 12, kVectors = 2;  // 24 sums of 32 registers
constexpr int kWindowRows = 6, kWindowVectors = 4;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32, kRows = 6, kVectors = 2;  // 12 sums of 16
constexpr int kWindowRows = 6, kWindowVectors = 2;
#else
constexpr int kVectorBytes = 16, kRows = 6, kVectors = 2;
constexpr int kWindowRows = 6, kWindowVectors = 2;
#endif

template <class T>
struct VectorOf {
  typedef T type __attribute__((vector_size(kVectorBytes)));
};
template <class T>
using Vector = typename VectorOf<T>::type;
template <class T>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));
template <class T>
constexpr int kColumns = kLanes<T>* kVectors;
template <class T>
constexpr int kWindowColumns = kLanes<T>* kWindowVectors;
template <class T>
constexpr std::int64_t kLine = 64 / static_cast<std::int64_t>(sizeof(T));  // numbers of a cache line
constexpr std::int64_t kShortSum = 64, kShortestSum = 16;

template <class T>
inline Vector<T> load(const T* from) {
  Vector<T> value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <class T>
inline void store(T* to, Vector<T> value) {
  std::memcpy(to, &value, sizeof value);
}

/// The first kUsed rows of a tile; fewer than all take less time.
template <class T, int kUsed>
inline void multiply_rows(const TileTask<T>& task) {
  constexpr int kSecondLevel = 2;
  const T* b = task.panel;
  const std::int64_t count = task.count, a_step = task.a_step, panel_step = task.panel_step;
  const std::int64_t length = task.taps * count;
  for (std::int64_t column_0 = 0; column_0 < task.columns; column_0 += kColumns<T>) {
    const std::int64_t c_offset = task.c_offset + column_0, columns = task.columns - column_0;
    // Lines of C that are read, or that a short sum would wait for, are fetched meanwhile; the shortest sums
    // can hide nothing.
    if (length >= kShortestSum && (task.add || length < kShortSum)) {
#pragma GCC unroll 16
      for (int i = 0; i < kUsed; ++i)
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) __builtin_prefetch(task.c[i] + c_offset + v * kLanes<T>, 1);
    }
    Vector<T> sum[kUsed][kVectors] = {};
    const T* const* rows = task.rows;
    const T* ahead = task.ahead;
    for (std::int64_t tap = 0; tap < task.taps; ++tap, rows += kRows) {
      const T* a[kUsed];
#pragma GCC unroll 16
      for (int i = 0; i < kUsed; ++i) a[i] = rows[i] + task.first;
      for (std::int64_t line = 0; line < count; line += kLine<T>) {
        for (std::int64_t i = 0; i < task.ahead_lines; ++i, ahead += kLine<T>)
          __builtin_prefetch(ahead, 0, kSecondLevel);
        const std::int64_t end = line + kLine<T> < count ? line + kLine<T> : count;
#pragma GCC unroll 4
        for (std::int64_t k = line; k < end; ++k, b += panel_step) {
          Vector<T> column[kVectors];
#pragma GCC unroll 16
          for (int v = 0; v < kVectors; ++v) column[v] = load(b + v * kLanes<T>);
#pragma GCC unroll 16
          for (int i = 0; i < kUsed; ++i) {
            const T value = a[i][k * a_step];
#pragma GCC unroll 16
            for (int v = 0; v < kVectors; ++v) sum[i][v] += column[v] * value;
          }
        }
      }
    }

    if (task.rows_used == kUsed && columns >= kColumns<T>) {
#pragma GCC unroll 16
      for (int i = 0; i < kUsed; ++i) {
        T* c = task.c[i] + c_offset;
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v)
          store(c + v * kLanes<T>, task.add ? load(c + v * kLanes<T>) + sum[i][v] : sum[i][v]);
      }
      continue;
    }
    T all[kUsed][kColumns<T>];
#pragma GCC unroll 16
    for (int i = 0; i < kUsed; ++i)
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) store(&all[i][v * kLanes<T>], sum[i][v]);
    const std::int64_t width = columns < kColumns<T> ? columns : kColumns<T>;
    for (std::int64_t i = 0; i < task.rows_used; ++i) {
      T* c = task.c[i] + c_offset;
      for (std::int64_t j = 0; j < width; ++j) c[j] = task.add ? c[j] + all[i][j] : all[i][j];
    }
  }
}

template <class T>
void multiply_tile(const TileTask<T>& task) {
  static_assert(kRows % 3 == 0);
  if (task.rows_used <= kRows / 3) return multiply_rows<T, kRows / 3>(task);
  if (task.rows_used <= 2 * kRows / 3) return multiply_rows<T, 2 * kRows / 3>(task);
  multiply_rows<T, kRows>(task);
}

/// kUsed rows against the first kWide vectors of the panel. Sums are short, so what counts is that no pointer
/// leaves its register and that whole lines of C are written.
template <class T, int kUsed, int kWide>
inline void multiply_window_rows(const WindowTask<T>& task, std::int64_t first) {
  const T *a = task.a + first * task.a_step, *b = task.panel;
  T* c = task.c + first * task.c_step;
  const std::int64_t a_step = task.a_step, count = task.count, c_step = task.c_step;
#pragma GCC unroll 16
  for (int i = 0; i < kUsed; ++i)
#pragma GCC unroll 16
    for (int v = 0; v < kWide; ++v) __builtin_prefetch(c + i * c_step + v * kLanes<T>, 1);
  Vector<T> sum[kUsed][kWide] = {};
  for (std::int64_t tap = 0; tap < task.taps; ++tap, a += task.tap_step) {
    const T* from = a;
#pragma GCC unroll 3
    for (std::int64_t k = 0; k < count; ++k, ++from, b += kWindowColumns<T>) {
      Vector<T> column[kWide];
#pragma GCC unroll 16
      for (int v = 0; v < kWide; ++v) column[v] = load(b + v * kLanes<T>);
#pragma GCC unroll 16
      for (int i = 0; i < kUsed; ++i) {
        const T value = from[i * a_step];
#pragma GCC unroll 16
        for (int v = 0; v < kWide; ++v) sum[i][v] += column[v] * value;
      }
    }
  }
  const bool whole = task.c_columns == kWide * kLanes<T>;
#pragma GCC unroll 16
  for (int i = 0; i < kUsed; ++i) {
    T last[kWide * kLanes<T>], *to = whole ? c + i * c_step : last;
#pragma GCC unroll 16
    for (int v = 0; v < kWide; ++v) store(to + v * kLanes<T>, sum[i][v]);
    if (!whole) std::memcpy(c + i * c_step, last, sizeof(T) * static_cast<std::size_t>(task.c_columns));
  }
}

/// The last tile reaches back into the one before it rather than be smaller.
template <class T, int kWide>
inline void multiply_wide_windows(const WindowTask<T>& task) {
  if (task.rows < kWindowRows) {
    for (std::int64_t i = 0; i < task.rows; ++i) multiply_window_rows<T, 1, kWide>(task, i);
    return;
  }
  std::int64_t i = 0;
  for (; i + kWindowRows <= task.rows; i += kWindowRows) multiply_window_rows<T, kWindowRows, kWide>(task, i);
  if (i < task.rows) multiply_window_rows<T, kWindowRows, kWide>(task, task.rows - kWindowRows);
}

template <class T>
void multiply_windows(const WindowTask<T>& task) {
  if (kWindowVectors == 1 || task.c_columns <= kLanes<T>) return multiply_wide_windows<T, 1>(task);
  if (kWindowVectors > 2 && task.c_columns > 2 * kLanes<T>)
    return multiply_wide_windows<T, kWindowVectors>(task);
  multiply_wide_windows<T, 2>(task);
}

/// The sum of a vector's lanes, by halves.
template <class T, int kCount, class V>
inline T total(const V& lanes) {
  if constexpr (kCount == 2) {
    return lanes[0] + lanes[1];
  } else {
    typedef T Half __attribute__((vector_size(kCount / 2 * sizeof(T))));
    Half low, high;
    std::memcpy(&low, &lanes, sizeof low);
    std::memcpy(&high, reinterpret_cast<const char*>(&lanes) + sizeof low, sizeof high);
    return total<T, kCount / 2>(low + high);
  }
}

template <class T, int kWeights>
void dots(const T* const* rows, std::int64_t taps, std::int64_t depth, const T* const* weights, T (*c)[4]) {
  constexpr std::int64_t kAhead = 16384 / sizeof(T);
  Vector<T> sum[4][kWeights] = {};
  T rest[4][kWeights] = {};
  for (std::int64_t tap = 0; tap < taps; ++tap, rows += 4) {
    const T* w[kWeights];
    for (int j = 0; j < kWeights; ++j) w[j] = weights[j] + tap * depth;
    std::int64_t k = 0;
    for (; k + kLanes<T> <= depth; k += kLanes<T>) {
      Vector<T> b[kWeights];
#pragma GCC unroll 4
      for (int j = 0; j < kWeights; ++j) b[j] = load(w[j] + k);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        // Four rows at once are more streams than processors follow by themselves.
        __builtin_prefetch(rows[i] + k + kAhead);
        const Vector<T> a = load(rows[i] + k);
#pragma GCC unroll 4
        for (int j = 0; j < kWeights; ++j) sum[i][j] += a * b[j];
      }
    }
    for (; k < depth; ++k)
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < kWeights; ++j) rest[i][j] += rows[i][k] * w[j][k];
  }
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < kWeights; ++j) {
      c[i][j] += total<T, kLanes<T>>(sum[i][j]) + rest[i][j];
    }
}

template <class T>
void multiply_dots(const T* const* rows, std::int64_t taps, std::int64_t depth, const T* const* weights,
                   int weight_count, T (*c)[4]) {
  switch (weight_count) {
    case 1: return dots<T, 1>(rows, taps, depth, weights, c);
    case 2: return dots<T, 2>(rows, taps, depth, weights, c);
    case 3: return dots<T, 3>(rows, taps, depth, weights, c);
    default: return dots<T, 4>(rows, taps, depth, weights, c);
  }
}

template <class T>
void pack_tile(const T* const* tile, std::int64_t step, std::int64_t count, T* to) {
  bool neighbours = true;
  const T* from[kRows];
  for (int i = 0; i < kRows; ++i) {
    from[i] = tile[i];
    neighbours = neighbours && from[i] == from[0] + i;
  }
  if (neighbours) {
    for (std::int64_t k = 0; k < count; ++k, to += kRows)
      std::memcpy(to, from[0] + k * step, sizeof(T) * kRows);
    return;
  }
  for (std::int64_t k = 0; k < count; ++k, to += kRows)
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) to[i] = from[i][k * step];
}

template <class T>
void pack_transposed(const T* source, std::int64_t step, std::int64_t count, std::int64_t width, T* panel) {
  if (width == kColumns<T>) {
    for (std::int64_t k = 0; k < count; ++k, panel += kColumns<T>)
#pragma GCC unroll 32
      for (std::int64_t j = 0; j < kColumns<T>; ++j) panel[j] = source[j * step + k];
    return;
  }
  for (std::int64_t k = 0; k < count; ++k, panel += kColumns<T>)
    for (std::int64_t j = 0; j < kColumns<T>; ++j) panel[j] = j < width ? source[j * step + k] : T(0);
}

template <class T>
void pack_rows(const T* source, std::int64_t step, std::int64_t count, std::int64_t width, T* panel) {
  for (std::int64_t k = 0; k < count; ++k, panel += kColumns<T>, source += step) {
    if (width == kColumns<T>) {
      std::memcpy(panel, source, sizeof(T) * kColumns<T>);
    } else {
      for (std::int64_t j = 0; j < kColumns<T>; ++j) panel[j] = j < width ? source[j] : T(0);
    }
  }
}

template <class T>
constexpr Kernels<T> kTable = {kRows,
                               kColumns<T>,
                               kWindowColumns<T>,
                               multiply_tile<T>,
                               multiply_windows<T>,
                               multiply_dots<T>,
                               pack_tile<T>,
                               pack_transposed<T>,
                               pack_rows<T>};

}  // namespace
}  // namespace om::cpu
