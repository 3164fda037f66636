// channel_activation: y = gain f(u) factor with u = scale x + strength noise + bias + residual.
#include "autograd/channel_activation.h"

namespace om {
namespace {

using namespace detail;

constexpr const char* kOp = "channel_activation";

/// Positions among the inputs of the node.
enum : int { kX, kScale, kBias, kNoise, kStrength, kResidual, kFactor, kInputs };

/// u, in the computed dtype.
Tensor argument(const Tensor& x, const ChannelActivation& o) {
  const DType dtype = computed(x.dtype());
  Tensor u = cast(x, dtype);
  if (o.scale.defined()) u = u * o.scale;
  if (o.noise.defined()) u = u + o.noise * o.strength;
  if (o.bias.defined()) u = u + o.bias;
  return o.residual.defined() ? u + cast(o.residual, dtype) : u;
}

/// gain f(u).
Tensor activated(const Tensor& u, double slope, double gain) {
  const Tensor z = slope == 1 ? u : leaky_relu(u, slope);
  return gain == 1 ? z : z * gain;
}

Tensor definition(const Tensor& x, const ChannelActivation& o) {
  const Tensor z = activated(argument(x, o), o.slope, o.gain);
  return cast(o.factor.defined() ? z * o.factor : z, x.dtype());
}

/// Where the sign of u comes from.
enum class Sign : std::uint8_t { none, result, argument };

Sign sign_source(const ChannelActivation& o) {
  if (o.factor.defined()) return Sign::argument;  // a factor may turn the result's sign
  if (o.slope == 1) return Sign::none;
  // x is kept for the scale's gradient anyway, and is one image instead of two.
  return wanted(o.scale) && !o.residual.defined() ? Sign::argument : Sign::result;
}

Keep kept(const Tensor& x, const ChannelActivation& o, Sign sign) {
  if (sign == Sign::argument) {
    Keep all = kKeepNothing;
    for (int i = 0; i < kInputs; ++i) all |= keep_input(i);
    return all;
  }
  return (sign == Sign::result ? kKeepOutput : kKeepNothing) | keep_input(kX, wanted(o.scale)) |
         keep_input(kScale, wants(x)) | keep_input(kNoise, wanted(o.strength)) |
         keep_input(kStrength, wanted(o.noise));
}

/// The operands that were kept, each with its node.
ChannelActivation operands(const Saved& s, double slope, double gain) {
  const auto operand = [&](int i) { return s.has(i) ? s.input(i) : Tensor(); };
  return {operand(kScale), operand(kBias), operand(kNoise), operand(kStrength), operand(kResidual),
          slope,           gain,           operand(kFactor)};
}

/// The gradients of those operands that are sums of h: over pixels, channels or images. With them the rule
/// in ops and the fast one end alike.
void add_noise_gradients(Gradients& gradients, const Saved& s, const Tensor& map) {
  if (s.needs(kNoise)) gradients[kNoise] = sum_to(map * s.input(kStrength), s.shape(kNoise));
  if (s.needs(kStrength)) gradients[kStrength] = reshape(sum(map * s.input(kNoise)), {1});
}

Gradients rule(const Saved& s, const Tensor& g_, Sign sign, double slope, double gain) {
  const Tensor g = cast(g_, computed(g_.dtype()));
  Gradients gradients(kInputs);
  Tensor h;
  if (sign == Sign::argument) {
    const ChannelActivation o = operands(s, slope, gain);
    const Tensor u = argument(s.input(kX), o);
    h = argument_gradient(o.factor.defined() ? g * o.factor : g, u, slope, gain);
    if (s.needs(kFactor)) gradients[kFactor] = sum_to(g * activated(u, slope, gain), s.shape(kFactor));
  } else {
    h = argument_gradient(g, sign == Sign::result ? s.output() : Tensor(), slope, gain);
  }
  if (s.needs(kX)) gradients[kX] = cast(s.has(kScale) ? h * s.input(kScale) : h, g_.dtype());
  if (s.needs(kScale)) gradients[kScale] = sum_to(h * s.input(kX), s.shape(kScale));
  if (s.needs(kBias)) gradients[kBias] = sum_to(h, s.shape(kBias));
  if (s.needs(kNoise) || s.needs(kStrength)) add_noise_gradients(gradients, s, sum(h, {3}));
  if (s.needs(kResidual)) gradients[kResidual] = cast(h, g_.dtype());
  return gradients;
}

Gradients fast_rule(ChannelKernels& kernels, const Saved& s, const Tensor& g, Sign sign, double slope,
                    double gain) {
  const Shape per_image{g.size(0), 1, 1, g.size(3)}, plane{g.size(0), g.size(1), g.size(2), 1};
  const auto room = [&](bool needed, const Shape& shape) {
    return needed ? Tensor::empty(shape, computed(g.dtype()), g.backend()) : Tensor();
  };
  const auto image = [&](bool needed) { return needed ? g.empty_like() : Tensor(); };
  const Tensor sum_h = room(s.needs(kBias), per_image), sum_hx = room(s.needs(kScale), per_image),
               sum_gz = room(s.needs(kFactor), per_image),
               map = room(s.needs(kNoise) || s.needs(kStrength), plane), gx = image(s.needs(kX)),
               h = image(s.needs(kResidual));
  const ChannelActivation o = operands(s, slope, gain);
  const bool all = sign == Sign::argument;
  const auto in_if = [](bool needed, const Tensor& t) { return needed ? in_or_none(t) : In{}; };
  kernels.channel_activation_grad({.g = g.in(),
                                   .y = sign == Sign::result ? s.output().in() : In{},
                                   .inputs = {.x = s.has(kX) ? s.input(kX).in() : In{},
                                              .scale = in_or_none(o.scale),
                                              .bias = in_if(all, o.bias),
                                              .noise = in_if(all, o.noise),
                                              .strength = in_if(all, o.strength),
                                              .residual = in_if(all, o.residual),
                                              .factor = in_or_none(o.factor),
                                              .slope = slope,
                                              .gain = gain},
                                   .x_gradient = out_or_none(gx),
                                   .h = out_or_none(h),
                                   .map = out_or_none(map),
                                   .sum_h = out_or_none(sum_h),
                                   .sum_hx = out_or_none(sum_hx),
                                   .sum_gz = out_or_none(sum_gz)});
  Gradients gradients(kInputs);
  gradients[kX] = gx;
  gradients[kResidual] = h;
  if (s.needs(kScale)) gradients[kScale] = sum_to(sum_hx, s.shape(kScale));
  if (s.needs(kBias)) gradients[kBias] = sum_to(sum_h, s.shape(kBias));
  if (s.needs(kFactor)) gradients[kFactor] = sum_to(sum_gz, s.shape(kFactor));
  if (map.defined()) add_noise_gradients(gradients, s, map);
  return gradients;
}

}  // namespace

Tensor channel_activation(const Tensor& x_, const ChannelActivation& options) {
  ChannelActivation o = checked(kOp, x_, options);
  const DType images = images_of(x_.dtype(), o);
  const Tensor x = cast(x_, images);
  bring_to(images, o);
  const Sign sign = sign_source(o);
  const auto forward = [&](ChannelKernels& kernels) {
    Tensor y = x.empty_like();
    kernels.channel_activation(arguments(x.in(), o), y.out());
    return y;
  };
  return fuse<ChannelKernels>(
      {x, o.scale, o.bias, o.noise, o.strength, o.residual, o.factor},
      {.op = kOp,
       .definition = [&] { return definition(x, o); },
       .forward = forward,
       .keep = kept(x, o, sign),
       .rule = [sign, slope = o.slope, gain = o.gain](
                   const Saved& s, const Tensor& g) { return rule(s, g, sign, slope, gain); },
       .fast_rule = [sign, slope = o.slope, gain = o.gain](
                        ChannelKernels& kernels, const Saved& s,
                        const Tensor& g) { return fast_rule(kernels, s, g, sign, slope, gain); }});
}

}  // namespace om
