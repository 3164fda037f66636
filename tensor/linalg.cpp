#include "tensor/linalg.h"

#include <Eigen/Eigenvalues>
#include <Eigen/SVD>
#include <cmath>

#include "tensor/error.h"

namespace om {
namespace {

using Rows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Eigen::Map<const Rows> view(const Matrix& a) { return {a.values.data(), a.rows, a.columns}; }
Eigen::Map<Rows> view(Matrix& a) { return {a.values.data(), a.rows, a.columns}; }

void expect_finite(const char* what, const Matrix& a) {
  for (const double value : a.values)
    if (!std::isfinite(value)) fail(what, ": the matrix holds a number that is not finite");
}

}  // namespace

Matrix gram(const Matrix& a) {
  Matrix result(a.columns, a.columns);
  auto out = view(result);
  out.setZero();
  out.selfadjointView<Eigen::Lower>().rankUpdate(view(a).transpose());
  out.triangularView<Eigen::StrictlyUpper>() = out.transpose();
  return result;
}

Matrix product_transposed(const Matrix& a, const Matrix& b) {
  if (a.columns != b.columns)
    fail("product_transposed: ", a.rows, "x", a.columns, " and ", b.rows, "x", b.columns);
  Matrix result(a.rows, b.rows);
  view(result).noalias() = view(a) * view(b).transpose();
  return result;
}

std::vector<double> singular_values(const Matrix& a) {
  expect_finite("singular_values", a);
  if (a.rows == 0 || a.columns == 0) return {};
  const Eigen::BDCSVD<Rows> svd(view(a));
  if (svd.info() != Eigen::Success) fail("singular_values: the iteration did not converge");
  return {svd.singularValues().begin(), svd.singularValues().end()};
}

Spectrum self_adjoint_spectrum(const Matrix& a) {
  if (a.rows != a.columns)
    fail("self_adjoint_spectrum: expects a square matrix, got ", a.rows, "x", a.columns);
  expect_finite("self_adjoint_spectrum", a);
  const Eigen::SelfAdjointEigenSolver<Rows> solver(view(a));
  if (solver.info() != Eigen::Success) fail("self_adjoint_spectrum: the iteration did not converge");
  Spectrum spectrum{{solver.eigenvalues().begin(), solver.eigenvalues().end()}, Matrix(a.rows, a.columns)};
  view(spectrum.vectors) = solver.eigenvectors().transpose();
  return spectrum;
}

}  // namespace om
