// Fused kernels that a backend may add: it derives from an interface below beside Backend. Whoever lacks one
// still runs everything, from the composed forms that autograd/ and train/adam.cpp state; nothing here has
// a meaning of its own.
//
// Images are [N, H, W, C] in one dtype, f32, f64 or bf16. Everything else (coefficients, noise, statistics,
// sums over pixels, distances) has the computed dtype: f64 for f64 images, f32 for f32 and bf16. A bf16
// image is widened where it is read and a result rounded once where it is written; in between all is
// float32. Coefficients are [1 or N, 1, 1, C]. An operand or a result whose data is null is absent; only
// those marked optional may be. As for every kernel, repeating one gives the same bits.
#pragma once

#include <span>

#include "tensor/backend.h"

namespace om {

/// What stands between two convolutions, in one pass: y = gain f(u) factor with
///   u = scale x + strength noise + bias + residual,  f(u) = u > 0 ? u : slope u, 0 if slope = 0
class ChannelKernels {
 public:
  virtual ~ChannelKernels() = default;

  struct Activation {
    In x;         ///< image
    In scale;     ///< optional coefficients; else 1
    In bias;      ///< optional coefficients; else 0
    In noise;     ///< optional, [1 or N, H, W, 1]
    In strength;  ///< one element, where noise is given
    In residual;  ///< optional image
    In factor;    ///< optional coefficients, of any sign (the next layer's style); else 1
    double slope = 1, gain = 1;
  };
  virtual void channel_activation(const Activation& inputs, Out y) = 0;

  /// With h = gain g factor (u > 0 ? 1 : slope), the gradient of u: whatever it is needed for, in one pass.
  ///
  /// Where y is given (never beside a factor), it has the sign of u: then inputs.scale serves x_gradient,
  /// inputs.x serves sum_hx, and the other operands are absent. Where slope = 1 and there is neither y nor
  /// factor, no sign is wanted and the same holds. Else u is formed again, and inputs holds all operands of
  /// the forward pass.
  struct ActivationGradient {
    In g;  ///< image, the gradient of y
    In y;  ///< optional image
    Activation inputs;
    Out x_gradient;  ///< optional image: scale h
    Out h;           ///< optional image (the gradient of residual)
    Out map;         ///< optional, [N, H, W, 1]: sum of h over the channels
    Out sum_h;       ///< optional, [N, 1, 1, C]: sum of h over each image's pixels
    Out sum_hx;      ///< optional, [N, 1, 1, C]: sum of h x
    Out sum_gz;      ///< optional, with a factor, [N, 1, 1, C]: sum of g gain f(u), the factor's gradient
  };
  virtual void channel_activation_grad(const ActivationGradient& arguments) = 0;
};

/// A convolution and the activation behind it, in one kernel where that is faster: the sums are not stored in
/// between, so bf16 results are rounded once.
class ConvActivationKernels {
 public:
  virtual ~ConvActivationKernels() = default;

  /// channel_activation of conv2d(x, w); `then.x` is absent. x, w, y and then.residual have one dtype, or x
  /// and w are bf16 and y f32.
  virtual void conv2d_activation(In x, In w, const ChannelKernels::Activation& then, Out y,
                                 const Conv2dParams& params) = 0;
};

/// Batch normalisation by the statistics of x itself, with what follows it. Over the M = N H W >= 1 pixels:
///   mean, variance (biased), r = 1 / sqrt(variance + eps), x^ = (x - mean) r
///   y = f(weight x^ + bias + residual),  f(u) = u > 0 ? u : slope u
class BatchNormKernels {
 public:
  virtual ~BatchNormKernels() = default;

  struct Norm {
    In x;             ///< image
    In weight, bias;  ///< [C]
    In residual;      ///< optional image
    double eps = 0, slope = 1;
    Out y;                  ///< image
    Out mean, variance, r;  ///< [1, 1, 1, C]
  };
  virtual void batch_norm(const Norm& arguments) = 0;

  /// With h = g (y > 0 ? 1 : slope), s1 = sum of h and s2 = sum of h x^ over all pixels:
  struct NormGradient {
    In g;        ///< image, the gradient of y
    In y;        ///< image; optional where slope = 1
    In x;        ///< image
    In weight;   ///< [C]
    In mean, r;  ///< [1, 1, 1, C], as batch_norm gave them
    double slope = 1;
    Out x_gradient;       ///< optional image: weight r (h - s1 / M - x^ s2 / M)
    Out h;                ///< optional image (the gradient of residual)
    Out weight_gradient;  ///< optional, [C]: s2
    Out bias_gradient;    ///< optional, [C]: s1
  };
  virtual void batch_norm_grad(const NormGradient& arguments) = 0;
};

/// LPIPS's normalise and difference. With a^ = a / (|a| + 1e-10), |a| the norm over the channels of a pixel,
/// and a^ = 0 where |a| = 0:
///   distance[n] = 1 / (H W) sum over h, w, c of weights[c] (a^ - b^)^2
class DistanceKernels {
 public:
  virtual ~DistanceKernels() = default;

  struct Distance {
    In a, b;     ///< images
    In weights;  ///< [C]
  };
  /// distance [N]. Exactly 0 where a = b, as is the gradient: (a - b) t_a + b (t_a - t_b), say.
  virtual void feature_distance(const Distance& inputs, Out distance) = 0;

  /// g [N], the gradient of distance. With q = 2 g[n] weights (a^ - b^) / (H W), t = 1 / (|a| + 1e-10):
  ///   a_gradient = t q - t^2 (q . a) a / |a|, 0 where |a| = 0; b_gradient likewise with -q
  /// Either is an image and optional.
  virtual void feature_distance_grad(const Distance& inputs, In g, Out a_gradient, Out b_gradient) = 0;
};

/// Adam over many arrays at once (train/adam.h has the formulas). Arrays may have any shape and size, 0
/// included; each is f32 or f64, whole in one dtype.
class AdamKernels {
 public:
  virtual ~AdamKernels() = default;

  /// norm = sqrt of the sum of squares over all arrays, which have norm's dtype; 0 where there is none.
  /// norm has shape [].
  virtual void adam_norm(std::span<const In> gradients, Out norm) = 0;

  struct AdamArray {
    In gradient;
    Out parameter, first, second;  ///< gradient's shape and dtype, updated in place
    In rate;                       ///< f64 []: on the device, since it changes from step to step
    In steps;                      ///< f64 []: t, this step counted
    In norm;                       ///< optional, gradient's dtype, []: of the group, before clipping
  };
  struct AdamConstants {
    double beta1, beta2, eps, weight_decay;
    double clip_norm;  ///< where norm is given, gradients count min(1, clip_norm / (norm + 1e-6))-fold
  };
  /// The scalars of an array (rate / (1 - b1^t), sqrt(1 - b2^t)) are formed in double, from t itself.
  virtual void adam(std::span<const AdamArray> arrays, const AdamConstants& constants) = 0;
};

}  // namespace om
