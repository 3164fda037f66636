#include "nn/modulated_conv.h"

#include <cmath>
#include <numbers>

#include "autograd/ops.h"
#include "nn/resample.h"

namespace om {
namespace {

const std::vector<double> kTaps = {1, 3, 3, 1};
constexpr double kUpsamplingGain = 4;  // zero insertion keeps one value in four

/// [N, C] as a factor per sample and channel of an image.
Tensor per_channel(const Tensor& factors) {
  return reshape(factors, {factors.size(0), 1, 1, factors.size(1)});
}

}  // namespace

ModulatedConv::ModulatedConv(const Placement& place, const Options& o)
    : options_(o),
      scale_(1 / std::sqrt(static_cast<double>(o.in * o.kernel * o.kernel))),
      weight_(o.kind == Kind::up ? parameter("weight", place.zeros({o.in, o.kernel, o.kernel, o.out}),
                                             layouts::modulated_up_conv)
                                 : parameter("weight", place.zeros({o.out, o.kernel, o.kernel, o.in}),
                                             layouts::modulated_conv)),
      modulation_(place, o.style, o.in) {
  if (o.kind == Kind::up)
    filter_ = buffer("blur.kernel", fir_filter(kTaps, kUpsamplingGain, place.dtype, place.backend));
  child("modulation", modulation_);
}

Tensor scaled(const Tensor& x, const Tensor& factors) {
  return channel_activation(x, {.scale = per_channel(factors)});
}

Tensor ModulatedConv::demodulation(const Tensor& style) const {
  if (!options_.demodulate)
    return Tensor::full({1, 1, 1, options_.out}, scale_, style.dtype(), style.backend());
  const PrecisionScope scope(coefficient_precision());
  const Tensor q = energy_({weight_}, [&] {
    const Tensor energy = sum(square(weight_), {1, 2});  // [out, 1, 1, in] or [in, 1, 1, out]
    const Tensor matrix = reshape(energy, {energy.size(0), energy.size(3)});
    return options_.kind == Kind::up ? permute(matrix, {1, 0}) : matrix;  // [out, in]
  });
  const Tensor norm = matmul(square(style), q, false, true);  // [N, out]
  // c / sqrt(c^2 norm + 1e-8) with c the weights' scale
  return per_channel(rsqrt(norm + 1e-8 / (scale_ * scale_)));
}

Tensor ModulatedConv::on_scaled(const Tensor& scaled, const Tensor& style, ChannelActivation then) const {
  then.scale = demodulation(style);
  const Tensor weight = rounded(weight_, rounded_);
  if (options_.kind == Kind::same)
    return conv2d_activation(scaled, weight, Conv2d::same(1, options_.kernel / 2), then);
  const Tensor y = conv2d_input_grad(scaled, weight, 2 * scaled.size(1) + options_.kernel - 2,
                                     2 * scaled.size(2) + options_.kernel - 2, Conv2d::same(2, 0));
  return channel_activation(blur(y, filter_, 1, 1), then);
}

Tensor ModulatedConv::weights_per_sample(const Tensor& style) const {
  const Tensor shared = reshape(weight_, {1, options_.out, options_.in});
  return shared * reshape(style * scale_, {style.size(0), 1, options_.in});
}

StyledConv::StyledConv(const Placement& place, const ModulatedConv::Options& options, double clamp)
    : conv_(place, options),
      noise_("weight", place.zeros({1})),
      activate_("bias", place.zeros({options.out})),
      clamp_(clamp) {
  child("conv", conv_);
  child("noise", noise_);
  child("activate", activate_);
}

Tensor StyledConv::operator()(const Tensor& x, const Tensor& w, const Tensor& noise) const {
  const Tensor style = conv_.style(w);
  return on_scaled(scaled(x, style), style, noise);
}

Tensor StyledConv::on_scaled(const Tensor& scaled, const Tensor& style, const Tensor& noise,
                             const Tensor& next) const {
  ChannelActivation form{.bias = activate_.value,
                         .noise = noise,
                         .strength = noise_.value,
                         .slope = 0.2,
                         .gain = std::numbers::sqrt2};
  if (clamp_ > 0) {  // before the factor
    const Tensor clipped = clamp(conv_.on_scaled(scaled, style, form), -clamp_, clamp_);
    return next.defined() ? om::scaled(clipped, next) : clipped;
  }
  if (next.defined()) form.factor = per_channel(next);
  return conv_.on_scaled(scaled, style, form);
}

ToRgb::Upsample::Upsample(const Placement& place)
    : kernel(buffer("kernel", fir_filter(kTaps, kUpsamplingGain, place.dtype, place.backend))) {}

ToRgb::ToRgb(const Placement& place, std::int64_t in, std::int64_t style, bool upsample, double clamp)
    : bias_(parameter("bias", place.zeros({1, 1, 1, 3}), layouts::image)),
      conv_(place, {in, 3, 1, style, ModulatedConv::Kind::same, false}),
      clamp_(clamp) {
  if (upsample) {
    upsample_ = std::make_unique<Upsample>(place);
    child("upsample", *upsample_);
  }
  child("conv", conv_);
}

Tensor ToRgb::operator()(const Tensor& x, const Tensor& w, const Tensor& previous) const {
  const Tensor skip = previous.defined() ? upsample2(previous, upsample_->kernel) : Tensor();
  const Tensor weights = conv_.weights_per_sample(conv_.style(w));
  const Tensor pixels = reshape(x, {x.size(0), x.size(1) * x.size(2), x.size(3)});
  const Tensor rgb =
      reshape(matmul(pixels, weights, false, true, Sums::f32), {x.size(0), x.size(1), x.size(2), 3});
  if (!(clamp_ > 0)) return channel_activation(rgb, {.bias = bias_, .residual = skip});
  const Tensor clipped = clamp(channel_activation(rgb, {.bias = bias_}), -clamp_, clamp_);
  return skip.defined() ? clipped + skip : clipped;
}

}  // namespace om
