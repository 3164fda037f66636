// StyleGAN 1's layers at equalised learning rate (Karras et al. 2018, "Progressive growing of GANs", 4.1;
// Karras et al. 2019, "A style-based generator architecture"): files hold `weight_orig` of unit variance, and
// the layer computes with weight_orig * sqrt(2 / fan_in), He's constant, fan_in being the elements per output
// of the first dimension. Biases are not scaled.
#pragma once

#include "nn/conv.h"

namespace om {

/// y = x W^T + b. weight_orig [out, in], bias [out]. Results are latents or coefficients, float32 in bf16
/// too.
class HeLinear : public Module {
 public:
  HeLinear(const Placement& place, std::int64_t in, std::int64_t out);
  /// x [N, in] -> [N, out].
  Tensor operator()(const Tensor& x) const;

 private:
  double scale_;
  Tensor weight_, bias_;
};

/// weight_orig [O, kH, kW, I], bias [O].
class HeConv : public Module {
 public:
  HeConv(const Placement& place, const ConvShape& shape);
  /// x [N, H, W, I] -> [N, OH, OW, O]. With Sums::f32 the result is float32 in bf16 too.
  Tensor operator()(const Tensor& x, Sums sums = Sums::rounded) const;

 private:
  Conv2d options_;
  double scale_;
  Tensor weight_, bias_;
  Derived rounded_;
};

/// Upsampling by 2 and a 3x3 convolution in one: the weight, padded by one on each side, is averaged over its
/// four shifts by one pixel, and the 4x4 kernel that results runs as a transposed convolution of stride 2. In
/// files `weight` [I, O, k, k], equalised with sqrt(2 / (I k^2)), and `bias`.
class FusedUpsample : public Module {
 public:
  FusedUpsample(const Placement& place, std::int64_t in, std::int64_t out);
  /// x [N, H, W, I] -> [N, 2H, 2W, O].
  Tensor operator()(const Tensor& x) const;

 private:
  double scale_;
  Tensor weight_, bias_, shifts_;
  Derived kernel_;
};

/// x + weight * noise per channel, weight_orig [1, C, 1, 1] equalised with fan_in C.
class ChannelNoise : public Module {
 public:
  ChannelNoise(const Placement& place, std::int64_t channels);
  /// x [N, H, W, C], noise [N or 1, H, W, 1].
  Tensor operator()(const Tensor& x, const Tensor& noise) const;

 private:
  double scale_;
  Tensor weight_;
};

/// Adaptive instance norm (Huang and Belongie 2017): per sample and channel, gamma (x - mean) / sqrt(var +
/// 1e-5) + beta with the biased variance over the pixels; (gamma, beta) are the halves of `style.linear` of
/// w.
class AdaIn : public Module {
 public:
  AdaIn(const Placement& place, std::int64_t channels, std::int64_t style);
  /// x [N, H, W, C], w [N, style].
  Tensor operator()(const Tensor& x, const Tensor& w) const;

 private:
  std::int64_t channels_;
  HeLinear style_;
};

}  // namespace om
