// Conformance of what the table of cases cannot reach: kernels on integers, casts between all dtypes, random
// numbers, indices of max pooling, results written over operands.
#pragma once

#include "tensor/backend.h"

namespace om::conformance {

/// Registers the tests, as Kernels.NAME.
void add_kernel_tests(Backend& backend);

}  // namespace om::conformance
