// Batched matrix product, either operand as it is or transposed. Products with at most 4 rows or columns run
// as sums over the large operand, read once.
#include <cstring>

#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/gemm.h"
#include "tensor/cpu/widened.h"

namespace om {
namespace cpu {
namespace {

template <class T>
void transpose(const T* a, std::int64_t rows, std::int64_t columns, T* out, int workers) {
  constexpr std::int64_t kBlock = 16;
  parallel_pieces(workers, (columns + kBlock - 1) / kBlock, [&](std::int64_t block) {
    const std::int64_t j0 = block * kBlock;
    for (std::int64_t i0 = 0; i0 < rows; i0 += kBlock)
      for (std::int64_t j = j0; j < std::min(columns, j0 + kBlock); ++j)
        for (std::int64_t i = i0; i < std::min(rows, i0 + kBlock); ++i)
          out[j * rows + i] = a[i * columns + j];
  });
}

/// y [M, N] = a [M, K] b [K, N] for M <= 4, reading b in order, 64 columns at a time.
template <class T>
void few_times_matrix(const T* a, const T* b, T* y, std::int64_t m, std::int64_t n, std::int64_t k,
                      int workers) {
  constexpr std::int64_t kWidth = 256 / static_cast<std::int64_t>(sizeof(T));
  const std::int64_t blocks = (n + kWidth - 1) / kWidth;
  parallel_pieces(workers, blocks, [&](std::int64_t block) {
    const std::int64_t first = block * kWidth, width = std::min(kWidth, n - first);
    T sum[4][kWidth] = {};
    for (std::int64_t l = 0; l < k; ++l) {
      const T* row = b + l * n + first;
      for (std::int64_t i = 0; i < m; ++i) {
        const T value = a[i * k + l];
        T* out = sum[i];
        if (width == kWidth)
          for (std::int64_t j = 0; j < kWidth; ++j) out[j] += value * row[j];
        else
          for (std::int64_t j = 0; j < width; ++j) out[j] += value * row[j];
      }
    }
    for (std::int64_t i = 0; i < m; ++i)
      std::memcpy(y + i * n + first, sum[i], sizeof(T) * static_cast<std::size_t>(width));
  });
}

struct Product {
  std::int64_t m, n, k;
  bool transpose_a, transpose_b;
};

template <class T>
void multiply(CachingAllocator& memory, const Product& p, const T* a, const T* b, T* y) {
  const GemmSize size{p.m, p.n, 1, p.k};
  const int workers = gemm_threads(size.flops());
  const bool turns = p.transpose_a && (p.m <= 4 || p.n <= 4);
  Scratch turned(memory, turns ? sizeof(T) * static_cast<std::size_t>(p.m * p.k) : 0);
  if (turns) {
    transpose(a, p.k, p.m, turned.as<T>(), workers);
    a = turned.as<T>();
  }
  if (p.k > 0 && p.m <= 4 && p.transpose_b)
    return gemm_dots<T>({p.n, p.m, 1, p.k}, MatrixRows<T>{b, p.k}, a, p.k,
                        [&](std::int64_t j, std::int64_t i, T value) { y[i * p.n + j] = value; });
  if (p.m <= 4) return few_times_matrix(a, b, y, p.m, p.n, p.k, workers);
  if (p.k > 0 && p.n <= 4) {
    Scratch columns(memory, p.transpose_b ? 0 : sizeof(T) * static_cast<std::size_t>(p.n * p.k));
    if (!p.transpose_b) transpose(b, p.k, p.n, columns.as<T>(), 1);
    return gemm_dots<T>({p.m, p.n, 1, p.k}, MatrixRows<T>{a, p.k}, p.transpose_b ? b : columns.as<T>(), p.k,
                        [&](std::int64_t i, std::int64_t j, T value) { y[i * p.n + j] = value; });
  }
  const auto pack = [&](std::int64_t, std::int64_t first, std::int64_t count, std::int64_t column,
                        std::int64_t width, T* panel) {
    if (p.transpose_b)
      kernels<T>().pack_transposed(b + column * p.k + first, p.k, count, width, panel);
    else
      kernels<T>().pack_rows(b + first * p.n + column, p.n, count, width, panel);
  };
  const MatrixRows<T> rows = p.transpose_a ? MatrixRows<T>{a, 1, p.m} : MatrixRows<T>{a, p.k};
  gemm<T>(memory, size, rows, pack, matrix_c(y, p.n));
}

template <class T>
void matmul(CachingAllocator& memory, In a, In b, Out y, const MatmulParams& params) {
  const std::int64_t batch = y.shape[0];
  const Product p{y.shape[1], y.shape[2], a.shape[params.transpose_a ? 1 : 2], params.transpose_a,
                  params.transpose_b};
  if (batch == 0 || p.m == 0 || p.n == 0) return;
  const std::int64_t a_step = a.shape[0] == 1 ? 0 : p.m * p.k, b_step = b.shape[0] == 1 ? 0 : p.k * p.n;
  // One b for all and rows in order: the batch is just more rows.
  if (b_step == 0 && a_step != 0 && !p.transpose_a)
    return multiply<T>(memory, {batch * p.m, p.n, p.k, false, p.transpose_b}, a.as<T>(), b.as<T>(),
                       y.as<T>());
  for (std::int64_t i = 0; i < batch; ++i)
    multiply<T>(memory, p, a.as<T>() + i * a_step, b.as<T>() + i * b_step, y.as<T>() + i * p.m * p.n);
}

}  // namespace
}  // namespace cpu

void CpuBackend::matmul(In a, In b, Out y, const MatmulParams& params) {
  cpu::with_float_operands(memory(), "matmul", a, b, y, [&]<class T>(Type<T>, In p, In q, Out r) {
    cpu::matmul<T>(memory(), p, q, r, params);
  });
}

}  // namespace om
