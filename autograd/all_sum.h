// The sum of a tensor over the ranks of a run, as an op: L = sum over ranks of L_r, so the gradient of one
// rank's x is the sum over the ranks of the gradients that reach y. all_sum is its own derivative.
#pragma once

#include "tensor/communicator.h"
#include "tensor/tensor.h"

namespace om {

/// x f32 or f64; every rank calls it in the same order with the same shape, in the backward pass too.
Tensor all_sum(const Tensor& x, Communicator& together);

}  // namespace om
