#include "tests/harness/comparison.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

namespace om::harness {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double largest_finite(std::span<const double> numbers) {
  double largest = 0;
  for (const double number : numbers)
    if (std::isfinite(number)) largest = std::max(largest, std::abs(number));
  return largest;
}

bool all_finite(std::span<const double> numbers) {
  return std::all_of(numbers.begin(), numbers.end(), [](double number) { return std::isfinite(number); });
}

}  // namespace

std::string difference(std::span<const double> x, std::span<const double> reference, const Rule& rule) {
  std::ostringstream told;
  told.precision(9);
  if (x.size() != reference.size()) {
    told << x.size() << " numbers, the reference has " << reference.size();
    return told.str();
  }
  const double largest = largest_finite(reference);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double expected = reference[i];
    const double scale = rule.scale == Rule::Scale::largest ? largest
                         : rule.scale == Rule::Scale::each  ? 1 + std::abs(expected)
                                                            : 1;
    // Written so that a NaN in x makes it false.
    const bool same =
        std::isfinite(expected)
            ? std::abs(x[i] - expected) <= rule.tolerance * scale
            : rule.nonfinite && (x[i] == expected || (std::isnan(x[i]) && std::isnan(expected)));
    if (same) continue;
    told << "element " << i << " of " << x.size() << ": " << x[i] << ", reference " << expected
         << ", allowed " << rule.tolerance << " x " << scale;
    return told.str();
  }
  return {};
}

double relative_error(std::span<const double> x, std::span<const double> reference) {
  if (x.size() != reference.size() || !all_finite(x) || !all_finite(reference)) return kInfinity;
  double error = 0;
  for (std::size_t i = 0; i < x.size(); ++i) error = std::max(error, std::abs(x[i] - reference[i]));
  return error > 0 ? error / largest_finite(reference) : 0;
}

double relative_l2_error(std::span<const double> x, std::span<const double> reference) {
  if (x.size() != reference.size() || !all_finite(x) || !all_finite(reference)) return kInfinity;
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    error += (x[i] - reference[i]) * (x[i] - reference[i]);
    norm += reference[i] * reference[i];
  }
  return error > 0 ? std::sqrt(error / norm) : 0;
}

}  // namespace om::harness
