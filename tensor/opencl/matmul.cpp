// matmul: both operands packed as matrices.
#include <vector>

#include "tensor/opencl/product.h"

namespace om::opencl {

void OpenClBackend::matmul(In a, In b, Out y, const MatmulParams& params) {
  const std::int64_t batch = y.shape[0], m = y.shape[1], n = y.shape[2];
  const std::int64_t k = a.shape[params.transpose_a ? 1 : 2];
  if (y.shape.elements() == 0) return;
  if (k == 0) return fill(y, 0);
  const auto operand = [&](In x, bool rows_apart, std::int64_t rows, std::int64_t width) {
    return MatrixArguments{.rows = rows,
                           .first_row = 0,
                           .width = width,
                           .k = 0,
                           .k_first = 0,
                           .k_size1 = 1,
                           .k_size2 = k,
                           .k_step0 = 0,
                           .k_step1 = 0,
                           .k_step2 = rows_apart ? 1 : rows,
                           .batch = x.shape[0] == 1 ? 0 : rows * k,
                           .row_step = rows_apart ? k : 1,
                           .to_batch = 0,
                           .k_limit = k,
                           .k_batch = 0};
  };
  const MatrixArguments left = operand(a, !params.transpose_a, m, kRows);
  const MatrixArguments right = operand(b, params.transpose_b, n, kColumns);
  const std::int64_t most = largest_slice(device_);
  const std::int64_t count = panels(k, most), length = panels(k, count);
  std::vector<Slice> slices;
  for (std::int64_t first = 0; first < k; first += length) {
    const std::int64_t now = std::min(length, k - first);
    slices.push_back({now,
                      [=, this](void* to, std::int64_t row, std::int64_t rows, std::int64_t to_batch) {
                        MatrixArguments p = left;
                        p.k = now, p.k_first = first, p.first_row = row, p.rows = row + rows,
                        p.to_batch = to_batch;
                        pack_matrix(device_, a.dtype, a.data, to, batch, p);
                      },
                      [=, this](void* to, std::int64_t to_batch) {
                        MatrixArguments p = right;
                        p.k = now, p.k_first = first, p.to_batch = to_batch;
                        pack_matrix(device_, b.dtype, b.data, to, batch, p);
                      }});
  }
  const Product product{batch, m, n, m * n, 1, m, m * n, 0, n, 0};
  Sums sums(*this, y, slices.size());
  multiply(*this, a.dtype, product, slices, sums.out());
  sums.store();
}

}  // namespace om::opencl
