// The microkernels: a block of C in vector registers, written with the compilers' generic vectors, so that
// one source serves AVX2, AVX-512, SSE and other processors.
#include "tensor/cpu/gemm.h"

#include <cstring>

namespace om::cpu {
namespace {

template <class T>
struct VectorOf {
  typedef T type __attribute__((vector_size(kVectorBytes)));
};
template <class T>
using Vector = typename VectorOf<T>::type;

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

}  // namespace

template <class T>
void multiply_tile(const TileTask<T>& task) {
  constexpr int kRows = Tile<T>::kRows, kLanes = Tile<T>::kLanes, kColumns = Tile<T>::kColumns;
  Vector<T> sum[kRows][kTileVectors] = {};
  const T* b = task.panel;
  const T* const* rows = task.rows;
  for (std::int64_t tap = 0; tap < task.taps; ++tap, rows += kRows) {
    const T* a[kRows];
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) a[i] = rows[i] + task.first;
    const std::int64_t count = task.count;
#pragma GCC unroll 4
    for (std::int64_t k = 0; k < count; ++k, b += kColumns) {
      Vector<T> column[kTileVectors];
#pragma GCC unroll 16
      for (int v = 0; v < kTileVectors; ++v) column[v] = load(b + v * kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const T value = a[i][k];
#pragma GCC unroll 16
        for (int v = 0; v < kTileVectors; ++v) sum[i][v] += column[v] * value;
      }
    }
  }

  if (task.rows_used == kRows && task.columns == kColumns) {
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      T* c = task.c[i] + task.c_offset;
#pragma GCC unroll 16
      for (int v = 0; v < kTileVectors; ++v)
        store(c + v * kLanes, task.add ? load(c + v * kLanes) + sum[i][v] : sum[i][v]);
    }
    return;
  }
  T all[kRows][kColumns];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 16
    for (int v = 0; v < kTileVectors; ++v) store(&all[i][v * kLanes], sum[i][v]);
  for (int i = 0; i < task.rows_used; ++i) {
    T* c = task.c[i] + task.c_offset;
    for (int j = 0; j < task.columns; ++j) c[j] = task.add ? c[j] + all[i][j] : all[i][j];
  }
}

namespace {

template <class T, int kWeights>
void dots(const T* const* rows, std::int64_t taps, std::int64_t depth, const T* const* weights, T (*c)[4]) {
  constexpr int kLanes = Tile<T>::kLanes;
  Vector<T> sum[4][kWeights] = {};
  T rest[4][kWeights] = {};
  for (std::int64_t tap = 0; tap < taps; ++tap, rows += 4) {
    const T* w[kWeights];
    for (int j = 0; j < kWeights; ++j) w[j] = weights[j] + tap * depth;
    std::int64_t k = 0;
    for (; k + kLanes <= depth; k += kLanes) {
      Vector<T> b[kWeights];
#pragma GCC unroll 4
      for (int j = 0; j < kWeights; ++j) b[j] = load(w[j] + k);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
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
      T lanes[kLanes];
      store(lanes, sum[i][j]);
      for (int half = kLanes / 2; half > 0; half /= 2)
        for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
      c[i][j] += lanes[0] + rest[i][j];
    }
}

}  // namespace

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
void pack_transposed(const T* source, std::int64_t step, std::int64_t count, std::int64_t width, T* panel) {
  constexpr std::int64_t kColumns = Tile<T>::kColumns;
  if (width == kColumns) {
    for (std::int64_t k = 0; k < count; ++k, panel += kColumns)
#pragma GCC unroll 16
      for (std::int64_t j = 0; j < kColumns; ++j) panel[j] = source[j * step + k];
    return;
  }
  for (std::int64_t k = 0; k < count; ++k, panel += kColumns)
    for (std::int64_t j = 0; j < kColumns; ++j) panel[j] = j < width ? source[j * step + k] : T(0);
}

template <class T>
void pack_rows(const T* source, std::int64_t step, std::int64_t count, std::int64_t width, T* panel) {
  constexpr std::int64_t kColumns = Tile<T>::kColumns;
  for (std::int64_t k = 0; k < count; ++k, panel += kColumns, source += step) {
    if (width == kColumns) {
      std::memcpy(panel, source, sizeof(T) * kColumns);
    } else {
      for (std::int64_t j = 0; j < kColumns; ++j) panel[j] = j < width ? source[j] : T(0);
    }
  }
}

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

template void multiply_tile<float>(const TileTask<float>&);
template void multiply_tile<double>(const TileTask<double>&);
template void multiply_dots<float>(const float* const*, std::int64_t, std::int64_t, const float* const*, int,
                                   float (*)[4]);
template void multiply_dots<double>(const double* const*, std::int64_t, std::int64_t, const double* const*,
                                    int, double (*)[4]);
template void pack_transposed<float>(const float*, std::int64_t, std::int64_t, std::int64_t, float*);
template void pack_transposed<double>(const double*, std::int64_t, std::int64_t, std::int64_t, double*);
template void pack_rows<float>(const float*, std::int64_t, std::int64_t, std::int64_t, float*);
template void pack_rows<double>(const double*, std::int64_t, std::int64_t, std::int64_t, double*);

}  // namespace om::cpu
