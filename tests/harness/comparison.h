// The one comparison of numbers that all tests use. NaN never passes it: not where it stands first, last or
// between, and not where the reference has it too, unless a rule says that the places must agree.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace om::harness {

struct Rule {
  double tolerance = 0;
  /// What the tolerance is relative to: the largest finite magnitude of the reference; for each element 1 +
  /// its own magnitude; or nothing.
  enum class Scale : unsigned char { largest, each, absolute } scale = Scale::largest;
  /// The reference may hold NaN and infinities, and then they must stand at the same places.
  bool nonfinite = false;
};

/// Empty where every element of x agrees with the reference; else the first that does not, in words. Numbers
/// that are missing or too many disagree.
std::string difference(std::span<const double> x, std::span<const double> reference, const Rule& rule);

/// The largest |x - reference| over the largest |reference|: infinite where the sizes differ, where any
/// number of either is not finite, and where a reference of zeros is missed.
double relative_error(std::span<const double> x, std::span<const double> reference);

/// |x - reference| / |reference| as lengths of vectors, infinite likewise.
double relative_l2_error(std::span<const double> x, std::span<const double> reference);

/// Any numbers as double.
template <class T>
std::vector<double> as_doubles(const std::vector<T>& numbers) {
  return {numbers.begin(), numbers.end()};
}

}  // namespace om::harness
