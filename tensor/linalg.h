// Dense linear algebra on the host, in double, through Eigen: what statistics of features need (the Fréchet
// distance of two normal distributions) and no network does.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace om {

/// rows x columns, row-major.
struct Matrix {
  std::int64_t rows = 0, columns = 0;
  std::vector<double> values = {};

  Matrix() = default;
  Matrix(std::int64_t r, std::int64_t c) : rows(r), columns(c), values(static_cast<std::size_t>(r * c)) {}
  std::span<double> row(std::int64_t i) {
    return {values.data() + i * columns, static_cast<std::size_t>(columns)};
  }
  std::span<const double> row(std::int64_t i) const {
    return {values.data() + i * columns, static_cast<std::size_t>(columns)};
  }
};

/// a^T a, exactly symmetric.
Matrix gram(const Matrix& a);
/// a b^T. Error where the columns differ.
Matrix product_transposed(const Matrix& a, const Matrix& b);

/// Largest first (bidiagonal divide and conquer). Error where a value is not finite; so below.
std::vector<double> singular_values(const Matrix& a);

/// a = V diag(values) V^T for a symmetric a, of which the lower half is read.
struct Spectrum {
  std::vector<double> values;  ///< smallest first
  Matrix vectors;              ///< row i belongs to values[i]: V^T
};
Spectrum self_adjoint_spectrum(const Matrix& a);

}  // namespace om
