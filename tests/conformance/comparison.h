// Comparing what a backend computed with the reference, and catching what it should not have touched.
#pragma once

#include <gtest/gtest.h>

#include "tests/cases/case.h"

namespace om::conformance {

/// While it lives, storages are surrounded by guards and start as NaN; EXPECTs at its end that no guard byte
/// was written. Tensors made inside must end before it does.
class Guarded {
 public:
  Guarded();
  ~Guarded();
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
};

/// EXPECTs |x - reference| <= tolerance * the largest finite |reference|, NaN and infinities at the same
/// places, and none at all unless `nonfinite`: an element that was never written shows as NaN.
void expect_close(const std::string& what, const std::vector<double>& x, const std::vector<double>& reference,
                  double tolerance, bool nonfinite = false);

/// The raw bytes of a tensor.
std::vector<std::byte> bytes_of(const Tensor& x);

}  // namespace om::conformance
