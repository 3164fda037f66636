// What a convolution with an epilogue needs beside cuDNN: operands in the form that cuDNN takes, and a
// comparison.
#pragma once

#include "tensor/cuda/cuda_backend.h"

namespace om::cuda {

/// gain times scale and bias [1, 1, 1, C] (1 and 0 where absent), and gain strength noise [1 or N, H, W, 1];
/// each written where its result has data. f32.
void prepare_epilogue(const ChannelKernels::Activation& from, Out scale, Out bias, Out noise,
                      cudaStream_t stream);

/// An empty kernel. What comes behind it waits until all before it has ended, which cuDNN's own kernels may
/// not when they follow one another (capture.cpp tells what was seen; in a recording the edges are mended).
void separate_launches(cudaStream_t stream);

/// The largest |a - b| over the largest |b|, infinity where either holds a NaN. f32 or bf16, one shape.
/// Waits.
double largest_difference(CudaBackend& backend, In a, In b);

}  // namespace om::cuda
