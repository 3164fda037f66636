// For autograd/recompute.cpp alone, whose rule runs a function again: the derivatives of that run.
#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace om {

/// The gradients of `output`, weighted by g, with respect to `inputs` as they stand in the graph between the
/// two: what an input depends on in its turn is not looked at. So they are partial derivatives, and a rule
/// may ask for them. Undefined where the output does not depend on an input.
std::vector<Tensor> partial_gradients(const Tensor& output, const Tensor& g,
                                      const std::vector<Tensor>& inputs);

}  // namespace om
