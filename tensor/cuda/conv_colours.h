// Convolutions of pictures, three channels to many, 1x1 or 3x3 with stride 1, and their gradients: too few
// channels for the matrix units, which would take them padded to eight in copies, and run them at a tenth of
// what the memory allows.
#pragma once

#include "tensor/cuda/conv_direct.h"

namespace om::cuda {

/// Enqueues the convolution where it is such a one, in f32 (products and sums in float, as strict asks) or
/// bf16; false elsewhere.
bool colour_convolution(CudaBackend& backend, const ConvArrays& arrays, const Conv2dParams& params);

}  // namespace om::cuda
