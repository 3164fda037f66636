// Convolutions by definition: one thread per result (one block per weight gradient), every floating dtype.
// For double, and for what cuDNN has no deterministic engine for.
#pragma once

#include "tensor/cuda/cuda_backend.h"

namespace om::cuda {

enum class ConvKind : std::uint8_t { forward, input_grad, weight_grad };

/// What follows a forward convolution in the same kernel: y = f(scale c + noise + bias + residual) factor, f
/// a leaky relu of that slope. Each absent or, in f32, [1, 1, 1, C]; noise [1 or N, H, W, 1]; residual of y's
/// shape and dtype.
struct ConvEpilogue {
  In scale, noise, bias, residual, factor;
  double slope = 1;
};

/// The operands of all three kernels in their forward roles; the result is the one that kind names.
struct ConvArrays {
  ConvKind kind;
  DType dtype;      // of the operands
  DType result;     // of the result: dtype, or f32 where that is bf16
  void *x, *w, *y;  // [N, H, W, I], [O, kH, kW, I], [N, OH, OW, O]
  Shape x_shape, w_shape, y_shape;
  const ConvEpilogue* epilogue = nullptr;
};

void direct_convolution(const ConvArrays& arrays, const Conv2dParams& params, cudaStream_t stream);

}  // namespace om::cuda
