// Convolutions of small images, a few hundred pixels in all, in tf32 on cards with clusters (compute
// capability 9.0), and their input gradients: the layers at 4 to 16 pixels of one image, which wait for their
// weights alone. cuDNN 9.19 takes 15 to 25 us for the 9.4 MB of 512 to 512 channels, 3x3, which an H200's
// memory delivers in 2; it also fuses less behind them.
//
// A cluster of 8 blocks forms 32 channels of the result. Each block takes an eighth of the summed channels,
// asks for all of its weights at once, so that a whole layer's are on their way together, and multiplies on
// the tensor cores; then the blocks add their parts over the cluster's shared memory, in one order: the same
// bits every time. The activation behind (ConvActivationKernels) is formed from the sums, in f32.
//
// An input gradient of stride s is s x s such products: pixels of one phase meet the same weights.
#pragma once

#include "tensor/cuda/channel_argument.h"
#include "tensor/cuda/conv_direct.h"

namespace om::cuda {

/// Enqueues the convolution where it is such a one: from f32 to f32 with Math::tf32, forward or input
/// gradient; false elsewhere. `then`, of a forward one only, is applied to the result; its x is not looked
/// at.
bool small_convolution(CudaBackend& backend, const ConvArrays& arrays, const Conv2dParams& params,
                       const ArgumentPointers<float>& then = {});

/// Whether it would be, of arrays at any aligned address.
bool is_small_convolution(const CudaBackend& backend, const ConvArrays& arrays, const Conv2dParams& params);

}  // namespace om::cuda
