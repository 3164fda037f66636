// Cosine annealing (Loshchilov and Hutter 2017, "SGDR"), one period over the whole run, in closed form as
// torch's CosineAnnealingLR defines it:
//
//   rate(t) = low + (high - low) (1 + cos(pi t / T)) / 2
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace om {

struct CosineSchedule {
  double high = 1e-4;
  double low = 1e-8;
  std::int64_t period = 1;  ///< T; `high` for ever where it is 0

  /// The rate of the step after `step` finished ones; `low` from T on.
  double at(std::int64_t step) const {
    if (period <= 0) return high;
    const double t = static_cast<double>(std::min(step, period)) / static_cast<double>(period);
    return low + (high - low) * (1 + std::cos(std::numbers::pi * t)) / 2;
  }
};

}  // namespace om
