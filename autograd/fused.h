// Ops that a backend may run as one kernel (tensor/fused.h): what stands between two convolutions, and the
// comparison of features. Where it has none they run composed from other ops; the composed form is their
// definition.
//
// In bf16, images x and y are bf16 and everything else float32: coefficients of another dtype are cast, x is
// not promoted, all is computed in float32 and y rounded once. Other mixed operands promote as in ops.h.
#pragma once

#include "autograd/ops.h"
#include "tensor/communicator.h"

namespace om {

struct ChannelActivation {
  Tensor scale = {};     ///< [1 or N, 1, 1, C] or [C]; undefined: 1
  Tensor bias = {};      ///< [1 or N, 1, 1, C] or [C]; undefined: 0
  Tensor noise = {};     ///< [1 or N, H, W, 1]; undefined: none
  Tensor strength = {};  ///< one element, with noise
  Tensor residual = {};  ///< x's shape; undefined: none
  double slope = 1;      ///< of the leaky relu, in [0, 1]; 1: none
  double gain = 1;       ///< > 0
  Tensor factor = {};    ///< after the activation, [1 or N, 1, 1, C] or [C]; undefined: 1
};
/// y = gain f(scale x + strength noise + bias + residual) factor, f(u) = u > 0 ? u : slope u. x [N, H, W, C].
Tensor channel_activation(const Tensor& x, const ChannelActivation& options);

/// channel_activation(conv2d(x, w, convolution), then), which is its definition. A backend that can runs it
/// as one kernel where nothing wants a gradient; bf16 results are then rounded once, not twice.
Tensor conv2d_activation(const Tensor& x, const Tensor& w, const Conv2d& convolution,
                         const ChannelActivation& then);

struct BatchNormOptions {
  double eps = 1e-5;
  Tensor residual = {};  ///< added before the activation; x's shape
  double slope = 1;      ///< of the leaky relu that follows, in [0, 1]; 1: none
  /// Statistics over the batches of all these ranks, which are of one size; null: of x alone.
  Communicator* together = nullptr;
};
struct BatchNormResult {
  Tensor y;
  /// Of the batch, [1, 1, 1, C], biased, without gradient: for running statistics. y's gradient may read
  /// them too: to overwrite them before it ran is an error there.
  Tensor mean, variance;
};
/// Batch normalisation by the statistics of x [N, H, W, C], with weight and bias [C], then residual and
/// activation.
BatchNormResult batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias,
                           const BatchNormOptions& options);

/// LPIPS's comparison of features (Zhang et al. 2018, equation 1): a, b [N, H, W, C], weights [C] -> [N],
///   1 / (H W) sum over h, w, c of weights[c] (a^ - b^)^2,  a^ = a / (|a| + 1e-10) over the channels
/// Where |a| = 0, a^ is 0, and so is its gradient. f32 for bf16 features.
Tensor feature_distance(const Tensor& a, const Tensor& b, const Tensor& weights);

}  // namespace om
