// 1x1 convolutions to at most four channels (the colour layers, the heads of noise maps) and their gradients:
// they wait for memory alone, and cuDNN would pad them to eight channels in copies.
#pragma once

#include "tensor/cuda/conv_direct.h"

namespace om::cuda {

/// Enqueues the convolution where it is such a one, in f32 (products and sums in float, as strict asks) or
/// bf16; false elsewhere.
bool narrow_convolution(CudaBackend& backend, const ConvArrays& arrays, const Conv2dParams& params);

}  // namespace om::cuda
