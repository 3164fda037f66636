// 1x1 convolutions to at most four channels (the heads of noise maps), products that are such convolutions
// with weights per sample (the colour layers), and their gradients: they wait for memory alone, and cuDNN
// would pad them to eight channels in copies, cuBLAS (13.0) load one element at a time.
#pragma once

#include "tensor/cuda/conv_direct.h"

namespace om::cuda {

/// Enqueues the convolution where it is such a one, in f32 (products and sums in float, as strict asks) or
/// bf16; false elsewhere.
bool narrow_convolution(CudaBackend& backend, const ConvArrays& arrays, const Conv2dParams& params);

/// The same for matmul: a [B, P, I] b [B, O, I]^T, and the two products that are its gradients, for O <= 4.
bool narrow_matmul(CudaBackend& backend, const In& a, const In& b, const Out& y, const MatmulParams& params);

}  // namespace om::cuda
