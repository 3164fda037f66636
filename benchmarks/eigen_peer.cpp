#define EIGEN_DONT_PARALLELIZE
#include "benchmarks/eigen_peer.h"

#include <Eigen/Core>
#include <algorithm>
#include <vector>

#include "tensor/cpu/parallel.h"

namespace om::peer {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using In = Eigen::Map<const Matrix>;
using Out = Eigen::Map<Matrix>;

constexpr std::int64_t kRows = 256;  // of a tile

/// body(first row, rows, member of the team) for every tile.
template <class Body>
void for_tiles(std::int64_t rows, Body&& body) {
  const std::int64_t tiles = (rows + kRows - 1) / kRows;
  parallel_for(threads(), tiles, [&](std::int64_t t, int member) {
    body(t * kRows, std::min(kRows, rows - t * kRows), member);
  });
}

/// Row p of `columns`: the nine pixels around pixel p, zeros beyond the edge.
void gather_window(const float* x, float* row, std::int64_t h, std::int64_t w, std::int64_t i,
                   std::int64_t pixel) {
  const std::int64_t top = pixel / w - 1, left = pixel % w - 1;
  for (std::int64_t r = top; r < top + 3; ++r)
    for (std::int64_t s = left; s < left + 3; ++s, row += i) {
      const bool inside = r >= 0 && r < h && s >= 0 && s < w;
      if (inside)
        std::copy_n(x + (r * w + s) * i, i, row);
      else
        std::fill_n(row, i, 0.0F);
    }
}

}  // namespace

void eigen_matmul(const float* a, const float* b, float* y, std::int64_t m, std::int64_t n, std::int64_t k) {
  for_tiles(m, [&](std::int64_t first, std::int64_t rows, int) {
    Out(y + first * n, rows, n).noalias() = In(a + first * k, rows, k) * In(b, k, n);
  });
}

void eigen_conv3x3(const float* x, const float* weight, float* y, std::int64_t h, std::int64_t w,
                   std::int64_t i, std::int64_t o) {
  const std::int64_t k = 9 * i;
  std::vector<float> columns(static_cast<std::size_t>(threads() * kRows * k));
  for_tiles(h * w, [&](std::int64_t first, std::int64_t rows, int member) {
    float* own = columns.data() + member * kRows * k;
    for (std::int64_t p = 0; p < rows; ++p) gather_window(x, own + p * k, h, w, i, first + p);
    Out(y + first * o, rows, o).noalias() = In(own, rows, k) * In(weight, o, k).transpose();
  });
}

}  // namespace om::peer
