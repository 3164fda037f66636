// Fused kernels that a backend may add: it derives from ChannelKernels beside Backend. Whoever lacks them
// still runs everything, from the composed forms that autograd/fused.cpp states; nothing here has a meaning
// of its own.
//
// They cover what stands between two convolutions. All work on images [N, H, W, C] in f32 or f64, one dtype
// for all operands, with coefficients per channel: [1 or N, 1, 1, C]. Operands marked optional are absent
// when data is null.
#pragma once

#include "tensor/backend.h"

namespace om {

class ChannelKernels {
 public:
  virtual ~ChannelKernels() = default;

  struct Activation {
    In x;
    In scale;     ///< optional, [1 or N, 1, 1, C]; else 1
    In bias;      ///< optional, [1 or N, 1, 1, C]; else 0
    In noise;     ///< optional, [1 or N, H, W, 1]
    In strength;  ///< one element, where noise is given
    In residual;  ///< optional, x's shape
    double slope = 1, gain = 1;
  };
  /// y = gain f(scale x + strength noise + bias + residual), f(u) = u > 0 ? u : slope u.
  virtual void channel_activation(const Activation& inputs, Out y) = 0;

  struct ActivationGradient {
    In g;        ///< gradient of y
    In y;        ///< optional where slope = 1
    In x;        ///< optional unless b or sum_hx is given
    In a, b, c;  ///< optional coefficients, [1 or N, 1, 1, C], of x_gradient
    double slope = 1, gain = 1;
    Out x_gradient;  ///< optional: a h + b x + c, x's shape; an absent coefficient is 1, 0, 0
    Out h;           ///< optional: h itself, x's shape
    Out map;         ///< optional, [N, H, W, 1]: sum of h over the channels
    Out sum_h;       ///< optional, [N, 1, 1, C]: sum of h over each image
    Out sum_hx;      ///< optional, [N, 1, 1, C]: sum of h x over each image
  };
  /// Everything that the gradient h = gain g (y > 0 ? 1 : slope) of the activation's argument is needed for,
  /// in one pass.
  virtual void channel_activation_grad(const ActivationGradient& arguments) = 0;

  /// mean and variance (biased), [1, 1, 1, C], over all images and places; at least one place.
  virtual void channel_moments(In x, Out mean, Out variance) = 0;
};

}  // namespace om
