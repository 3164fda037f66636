// Losses. LPIPS is a model of its own (models/lpips.h).
#pragma once

#include "tensor/tensor.h"

namespace om {

/// The authors' reconstruction loss: the sum over the images of a batch of each image's mean squared error. x
/// and y [N, H, W, C] -> [].
Tensor sum_of_mse(const Tensor& x, const Tensor& y);

}  // namespace om
