// Fully connected layers, plain and equalised.
#pragma once

#include "nn/derived.h"
#include "nn/module.h"

namespace om {

/// y = x W^T + b. weight [out, in], bias [out]. Results are latents or coefficients, float32 in bf16 too.
class Linear : public Module {
 public:
  Linear(const Placement& place, std::int64_t in, std::int64_t out);
  /// x [N, in] -> [N, out].
  Tensor operator()(const Tensor& x) const;

 private:
  Tensor weight_, bias_;
};

/// Equalised learning rate (Karras et al. 2018, "Progressive growing of GANs", 4.1): weights are kept at unit
/// variance and scaled at run time, y = x W^T (lr_mul / sqrt(in)) + b lr_mul. With `activate`, leaky relu 0.2
/// times sqrt(2) follows, as in StyleGAN 2's mapping network.
class EqualLinear : public Module {
 public:
  EqualLinear(const Placement& place, std::int64_t in, std::int64_t out, double lr_mul = 1,
              bool activate = false);
  Tensor operator()(const Tensor& x) const;

 private:
  double scale_, lr_mul_;
  bool activate_;
  Tensor weight_, bias_;
  Derived scaled_weight_, scaled_bias_;
};

/// x * rsqrt(mean(x^2 over the last dimension) + 1e-8).
Tensor pixel_norm(const Tensor& x);

}  // namespace om
