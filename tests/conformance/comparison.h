// Catching what a backend should not have touched, and its results as raw bytes.
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

/// The raw bytes of a tensor.
std::vector<std::byte> bytes_of(const Tensor& x);

}  // namespace om::conformance
