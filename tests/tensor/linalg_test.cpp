// tensor/linalg against matrices whose spectra are known.
#include "tensor/linalg.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tensor/error.h"

namespace om {
namespace {

Matrix matrix(std::int64_t rows, std::int64_t columns, std::vector<double> values) {
  Matrix m(rows, columns);
  m.values = std::move(values);
  return m;
}

/// sin of a running number: full rank, no structure.
Matrix waves(std::int64_t rows, std::int64_t columns) {
  Matrix m(rows, columns);
  for (std::size_t i = 0; i < m.values.size(); ++i)
    m.values[i] = std::sin(1.7 * static_cast<double>(i * i % 977) + 0.3);
  return m;
}

TEST(Linalg, ProductsAreTheSums) {
  const Matrix a = matrix(2, 3, {1, 2, 3, 4, 5, 6}), b = matrix(1, 3, {1, 0, -1});
  EXPECT_EQ(product_transposed(a, b).values, (std::vector<double>{-2, -2}));
  EXPECT_EQ(gram(a).values, (std::vector<double>{17, 22, 27, 22, 29, 36, 27, 36, 45}));
  EXPECT_THROW(product_transposed(a, matrix(1, 2, {1, 2})), Error);
}

TEST(Linalg, SingularValuesOfAKnownMatrix) {
  // a rotation times diag(3, 2, 0.5) times a rotation
  const double c = std::cos(0.4), s = std::sin(0.4);
  const Matrix a = matrix(3, 3, {3 * c, -2 * s, 0, 3 * s, 2 * c, 0, 0, 0, 0.5});
  const std::vector<double> values = singular_values(a);
  ASSERT_EQ(values.size(), 3U);
  EXPECT_NEAR(values[0], 3, 1e-14);
  EXPECT_NEAR(values[1], 2, 1e-14);
  EXPECT_NEAR(values[2], 0.5, 1e-14);
}

/// Both ways to the same numbers, beyond the size where divide and conquer begins.
TEST(Linalg, SingularValuesAreTheRootsOfTheGramsSpectrum) {
  const Matrix a = waves(90, 60);
  const std::vector<double> singular = singular_values(a);
  const Spectrum spectrum = self_adjoint_spectrum(gram(a));
  ASSERT_EQ(singular.size(), 60U);
  for (std::size_t i = 0; i < 60; ++i)
    EXPECT_NEAR(singular[i] * singular[i], spectrum.values[59 - i], 1e-11 * spectrum.values[59]) << i;
}

TEST(Linalg, TheSpectrumMakesTheMatrixAgain) {
  const Matrix a = gram(waves(50, 40));
  const Spectrum spectrum = self_adjoint_spectrum(a);
  for (std::size_t i = 1; i < 40; ++i) EXPECT_LE(spectrum.values[i - 1], spectrum.values[i]);
  for (std::int64_t i = 0; i < 40; ++i)
    for (std::int64_t j = 0; j < 40; ++j) {
      double sum = 0;
      for (std::int64_t k = 0; k < 40; ++k)
        sum += spectrum.values[static_cast<std::size_t>(k)] *
               spectrum.vectors.row(k)[static_cast<std::size_t>(i)] *
               spectrum.vectors.row(k)[static_cast<std::size_t>(j)];
      ASSERT_NEAR(sum, a.row(i)[static_cast<std::size_t>(j)], 1e-11 * spectrum.values[39]) << i << "," << j;
    }
}

TEST(Linalg, RefusesWhatIsNotFinite) {
  Matrix a = waves(3, 3);
  a.values[8] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(singular_values(a), Error);
  EXPECT_THROW(self_adjoint_spectrum(a), Error);
  EXPECT_THROW(self_adjoint_spectrum(waves(2, 3)), Error);
  EXPECT_TRUE(singular_values(Matrix(0, 4)).empty());
}

}  // namespace
}  // namespace om
