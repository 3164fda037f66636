// Cases that call one kernel of a backend directly: what ops do not reach (NaN, saturation, integers,
// negative strides, results of another dtype or written over operands, indices), and the sizes at which a
// backend may change its algorithm. They are rows of the one table like all others, named
// kernel/KERNEL/VARIANT; with them, `conformance --backend NAME` holds everything that a port must hold.
//
// Lists go through the enumerations themselves: a new dtype, UnaryOp, BinaryOp, ReduceOp or Distribution that
// has no case ends the program with its name.
#pragma once

#include <functional>

#include "tests/cases/case.h"
#include "tests/cases/enumerators.h"

namespace om::cases {

using Kernel = std::function<void(Backend&, const std::vector<In>&, Out)>;

/// A case of one kernel with one result of shape y, in the case's dtype or its own. Differences are measured
/// per element.
Case kernel_case(std::string name, std::vector<Input> inputs, const Shape& y, std::optional<DType> y_dtype,
                 const Kernel& kernel);
/// The same where the kernel writes over the first input, or over a part of it.
Case kernel_case_over_first(std::string name, std::vector<Input> inputs, const Kernel& kernel);

/// Every result must be the reference's in the same dtype; by default in every dtype.
Case exact_in(std::vector<DType> dtypes, Case c);
/// With `factor` times the usual bounds per element: 3e-6 in f32, 1e-13 in f64, 1/250 in bf16.
Case within(double factor, Case c);
/// NaN and infinities may come up, where the reference has them.
Case nonfinite(Case c);

/// An input of no elements that says which dtype the case runs in, for kernels that read none in it.
Input dtype_of_case();

/// "2x3x5", or "scalar".
std::string shape_name(const Shape& shape);

/// 0, both signs, fractions, NaN, infinities, numbers that e^x and powers still hold in float.
Input special_numbers();

}  // namespace om::cases
