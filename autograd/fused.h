// Ops that a backend may run as one kernel (tensor/fused.h): what stands between two convolutions. Where it
// has none, or for dtypes that it does not take, they run composed from other ops; the composed form is their
// definition, and the one that second derivatives go through.
#pragma once

#include "tensor/tensor.h"

namespace om {

struct ChannelActivation {
  Tensor scale = {};     ///< [1 or N, 1, 1, C] or [C]; undefined: 1
  Tensor bias = {};      ///< [1 or N, 1, 1, C] or [C]; undefined: 0
  Tensor noise = {};     ///< [1 or N, H, W, 1]; undefined: none
  Tensor strength = {};  ///< one element, with noise
  Tensor residual = {};  ///< x's shape; undefined: none
  double slope = 1;      ///< of the leaky relu, in [0, 1]; 1: none
  double gain = 1;       ///< > 0
};
/// y = gain f(scale x + strength noise + bias + residual), f(u) = u > 0 ? u : slope u. x [N, H, W, C].
Tensor channel_activation(const Tensor& x, const ChannelActivation& options);

struct BatchNormOptions {
  double eps = 1e-5;
  Tensor residual = {};  ///< added before the activation; x's shape
  double slope = 1;      ///< of the leaky relu that follows, in [0, 1]; 1: none
};
struct BatchNormResult {
  Tensor y;
  Tensor mean, variance;  ///< of the batch, [1, 1, 1, C], biased, without gradient: for running statistics
};
/// Batch normalisation by the statistics of x [N, H, W, C], with weight and bias [C], then residual and
/// activation.
BatchNormResult batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias,
                           const BatchNormOptions& options);

}  // namespace om
