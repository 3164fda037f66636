#include "nn/equalized.h"

#include <cmath>

#include "autograd/fused.h"
#include "nn/resample.h"

namespace om {
namespace {

double he_scale(std::int64_t fan_in) { return std::sqrt(2 / static_cast<double>(fan_in)); }

}  // namespace

HeLinear::HeLinear(const Placement& place, std::int64_t in, std::int64_t out)
    : scale_(he_scale(in)),
      weight_(parameter("weight_orig", place.zeros({out, in}))),
      bias_(parameter("bias", place.zeros({out}))) {}

Tensor HeLinear::operator()(const Tensor& x) const {
  const PrecisionScope scope(coefficient_precision());
  return matmul(x, weight_, false, true) * scale_ + bias_;
}

HeConv::HeConv(const Placement& place, const ConvShape& s)
    : options_(Conv2d::same(s.stride, s.pad)),
      scale_(he_scale(s.in * s.kernel * s.kernel)),
      weight_(parameter("weight_orig", place.zeros({s.out, s.kernel, s.kernel, s.in}), layouts::conv)),
      bias_(parameter("bias", place.zeros({s.out}))) {}

Tensor HeConv::operator()(const Tensor& x, Sums sums) const {
  Conv2d options = options_;
  options.sums = sums;
  const Tensor weight = rounded_({weight_}, [&] { return as_operand(weight_ * scale_); });
  return conv2d_activation(x, weight, options, {.bias = bias_});
}

FusedUpsample::FusedUpsample(const Placement& place, std::int64_t in, std::int64_t out)
    : scale_(he_scale(in * 9)),
      weight_(parameter("weight", place.zeros({in, 3, 3, out}), layouts::transposed_conv)),
      bias_(parameter("bias", place.zeros({out}))),
      shifts_(fir_filter({1, 1}, 1, place.dtype, place.backend)) {}

Tensor FusedUpsample::operator()(const Tensor& x) const {
  const Tensor kernel =
      kernel_({weight_}, [&] { return as_operand(blur(weight_ * scale_, shifts_, 1, 1)); });  // [I, 4, 4, O]
  const Tensor y = conv2d_input_grad(x, kernel, 2 * x.size(1), 2 * x.size(2), Conv2d::same(2, 1));
  return channel_activation(y, {.bias = bias_});
}

ChannelNoise::ChannelNoise(const Placement& place, std::int64_t channels)
    : scale_(he_scale(channels)),
      weight_(parameter("weight_orig", place.zeros({1, 1, 1, channels}), layouts::image)) {}

Tensor ChannelNoise::operator()(const Tensor& x, const Tensor& noise) const {
  return x + cast(noise, x.dtype()) * cast(weight_ * scale_, x.dtype());
}

AdaIn::AdaIn(const Placement& place, std::int64_t channels, std::int64_t style)
    : channels_(channels), style_(place, style, 2 * channels) {
  child("style.linear", style_);
}

Tensor AdaIn::operator()(const Tensor& x, const Tensor& w) const {
  const Tensor style = style_(w);  // [N, 2C]
  const auto half = [&](std::int64_t start) {
    return reshape(slice(style, 1, start, channels_), {style.size(0), 1, 1, channels_});
  };
  // centred first: the difference of two large products would lose what a small deviation has
  const Tensor centred = channel_activation(x, {.bias = -mean(x, {1, 2})});
  const Tensor scale = half(0) * rsqrt(mean(square(centred), {1, 2}) + 1e-5);
  return channel_activation(centred, {.scale = scale, .bias = half(channels_)});
}

}  // namespace om
