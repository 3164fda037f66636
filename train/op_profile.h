// Time by op: a piece of work runs with every op timed, the backend waited for before and after each, so that
// a device's launches no longer overlap and the sum is larger than the work's own time. What the ops compute
// is counted by the same work on a dry backend (tensor/dry.h).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "autograd/observer.h"
#include "tensor/dry.h"

namespace om {

struct OpRow {
  std::string op;
  Pass pass = Pass::forward;
  std::int64_t calls = 0;  ///< in one run of the work
  double seconds = 0;      ///< of one run, all calls together
  double flops = 0;        ///< likewise; 0 where the op is no convolution or matrix product
};

/// Rows by time, the longest first. `body` runs once to warm up and `runs` times; `dry_body` is the same work
/// on a dry backend, whose meter is `dry`. Error where the two called different ops.
std::vector<OpRow> profile_ops(Backend& backend, const std::function<void()>& body, WorkMeter& dry,
                               const std::function<void()>& dry_body, int runs = 3);

}  // namespace om
