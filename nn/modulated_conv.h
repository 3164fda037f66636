// StyleGAN 2's modulated convolution and the styled layer around it (Karras et al. 2020, "Analyzing and
// improving the image quality of StyleGAN", section 2.2).
//
// The paper scales the weights per sample: w'_oik = s_i w_oik, then w''_oik = w'_oik / sqrt(sum over i, k of
// w'_oik^2 + eps). Because convolution is linear, the same function is: scale the input channels by s,
// convolve with the shared weight, scale the output channels by d_o = 1 / sqrt(sum over i of s_i^2 q_oi +
// eps), q_oi = sum over k of w_oik^2. No weight is formed per sample, and d is one small matrix product.
//
// Scaling by s is a pass of its own over the image, unless the layer before did it: a styled conv multiplies
// its result by the `next` style in the pass of its activation, and takes an image that is already scaled.
#pragma once

#include "autograd/fused.h"
#include "nn/linear.h"
#include "nn/module.h"

namespace om {

class ModulatedConv : public Module {
 public:
  enum class Kind { same, up };
  struct Options {
    std::int64_t in, out, kernel, style;
    Kind kind = Kind::same;
    bool demodulate = true;
  };

  ModulatedConv(const Placement& place, const Options& options);

  /// s [N, in], from w [N, style].
  Tensor style(const Tensor& w) const { return modulation_(w); }
  /// d [N, 1, 1, out], to be multiplied in the pass that adds the bias; without demodulation the constant
  /// factor [1, 1, 1, out].
  Tensor demodulation(const Tensor& style) const;
  /// `scaled` [N, H, W, in] is the image times s. Upsampling is a transposed convolution of stride 2, then
  /// the FIR filter. Then the activation, with the demodulation as its scale: [N, H, W, out], or [N, 2H, 2W,
  /// out] when upsampling.
  Tensor on_scaled(const Tensor& scaled, const Tensor& style, ChannelActivation then) const;
  /// The weights of a 1x1 kernel without demodulation, scaled by s: [N, out, in].
  Tensor weights_per_sample(const Tensor& style) const;

 private:
  Options options_;
  double scale_;  // 1 / sqrt(in kernel^2), folded into the style or the demodulation
  Tensor weight_;
  Tensor filter_;
  EqualLinear modulation_;
  Derived rounded_, energy_;
};

/// Modulated conv -> + strength * noise -> leaky relu (x + bias, 0.2) * sqrt(2).
class StyledConv : public Module {
 public:
  /// The result is clipped to [-clamp, clamp] where `clamp` is positive.
  StyledConv(const Placement& place, const ModulatedConv::Options& options, double clamp = 0);

  /// noise [N or 1, H, W, 1] at the output's size; undefined for none.
  Tensor operator()(const Tensor& x, const Tensor& w, const Tensor& noise) const;

  /// The same in parts, for layers in a row: style(w), then on an image that is multiplied by it already.
  /// The result comes multiplied by `next` [N, out], the style of the one layer that takes it, or plain.
  Tensor style(const Tensor& w) const { return conv_.style(w); }
  Tensor on_scaled(const Tensor& scaled, const Tensor& style, const Tensor& noise,
                   const Tensor& next = {}) const;

 private:
  // Files keep the scalar and the bias under names of their own modules: noise.weight, activate.bias.
  class Scalar : public Module {
   public:
    Scalar(std::string name, const Tensor& value) : value(parameter(std::move(name), value)) {}
    Tensor value;
  };

  ModulatedConv conv_;
  Scalar noise_, activate_;
  double clamp_;
};

/// x [N, H, W, C] times factors [N, C].
Tensor scaled(const Tensor& x, const Tensor& factors);

/// Modulated 1x1 conv to 3 channels without demodulation, + bias, clipped where `clamp` is positive, + the
/// previous image upsampled by 2. Here the weights per sample, [3, in], are the small side: they are scaled,
/// and x is read once, in a batched product. The result is float32 in bf16 too.
class ToRgb : public Module {
 public:
  ToRgb(const Placement& place, std::int64_t in, std::int64_t style, bool upsample, double clamp = 0);

  /// x [N, H, W, in], w [N, style], previous [N, H/2, W/2, 3] or undefined -> [N, H, W, 3].
  Tensor operator()(const Tensor& x, const Tensor& w, const Tensor& previous) const;

 private:
  class Upsample : public Module {
   public:
    explicit Upsample(const Placement& place);
    Tensor kernel;
  };

  Tensor bias_;
  std::unique_ptr<Upsample> upsample_;
  ModulatedConv conv_;
  double clamp_;
};

}  // namespace om
