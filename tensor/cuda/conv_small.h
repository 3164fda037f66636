// Convolutions of small images in tf32, on cards with clusters (from compute capability 9.0 on), and their
// input gradients: the layers of 4 x 4 and 8 x 8 pixels of one image, which wait for their weights alone.
// cuDNN 9.19 takes 17 to 26 us for the 9.4 MB of 512 to 512 channels, 3x3, which an H200's memory delivers in
// 2; it also fuses less behind them. (The limits were found on an H200.)
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

/// Enqueues the convolution, forward or input gradient; false, with nothing done, unless
/// - it is from f32 to f32 with Math::tf32,
/// - y has 1 to 64 pixels and x 1 to 320, of all images together,
/// - the summed channels (of x, or of y for the gradient) are a power of two from 64 to 1024, the result's a
///   multiple of 32 to 4096,
/// - there are at most 9 taps, both strides are 1 or both are 2, and every pixel of a gradient meets a tap,
/// - arrays are aligned to 16 bytes, and what a block keeps fits the card.
/// `then`, of a forward one only, is applied to the result; its x is not looked at. Its residual may be the
/// result; x may not. arrays.epilogue is not looked at.
bool small_convolution(CudaBackend& backend, const ConvArrays& arrays, const Conv2dParams& params,
                       const ArgumentPointers<float>& then = {});

/// Whether small_convolution would take it, of arrays at any aligned address.
bool is_small_convolution(const CudaBackend& backend, const ConvArrays& arrays, const Conv2dParams& params);

}  // namespace om::cuda
