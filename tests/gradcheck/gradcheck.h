// Gradients against central differences, in double.
//
// For y = f(x) a random r is handed to grad() as the gradient of y, and sum of r f(x) is formed on the host,
// so that no rule but those inside f takes part; a plain sum would hide rules that only get a normalisation
// wrong. Second order is the same check of the function (x, r) -> J(x)^T r, whose derivatives come from
// create_graph.
#pragma once

#include <set>
#include <string>

#include "tests/cases/case.h"

namespace om::gradcheck {

constexpr double kFirstOrderTolerance = 1e-6;
constexpr double kSecondOrderTolerance = 1e-5;

struct Report {
  double error = 0;           ///< largest difference, relative to the largest gradient of that input
  std::string where;          ///< the element it was found at, what was claimed and what was measured
  std::set<std::string> ops;  ///< recorded: those of f, for the second order those of its rules too
};

/// Every element of inputs up to 256 elements; of larger ones, some elements and random directions. Error
/// where an input gets no gradient, or where a gradient depends on which others are wanted.
Report first_order(const cases::Case& c, Backend& backend, std::uint64_t seed = 0);
Report second_order(const cases::Case& c, Backend& backend, std::uint64_t seed = 0);

/// The report within tolerance, or the last one after c.redraws more draws.
Report first_order_redrawn(const cases::Case& c, Backend& backend);
Report second_order_redrawn(const cases::Case& c, Backend& backend);

}  // namespace om::gradcheck
