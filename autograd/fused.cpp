#include "autograd/fused.h"

#include "autograd/checks.h"
#include "autograd/grad.h"
#include "tensor/fused.h"

namespace om {
namespace {

using namespace detail;

/// [C] as [1, 1, 1, C]; other shapes and undefined tensors as they are.
Tensor as_coefficients(const char* op, const Tensor& t, const Tensor& x) {
  if (!t.defined()) return t;
  const Tensor c = t.rank() == 1 ? reshape(t, {1, 1, 1, t.size(0)}) : t;
  const std::int64_t images = c.rank() == 4 ? c.size(0) : 0;
  if (c.rank() != 4 || (images != 1 && images != x.size(0)) || c.size(1) != 1 || c.size(2) != 1 ||
      c.size(3) != x.size(3))
    fail(op, ": expects coefficients [1 or ", x.size(0), ", 1, 1, ", x.size(3), "], got ", t.shape(), " (x ",
         x.shape(), ")");
  return c;
}

/// The backend's fused kernels, if it has them for these operands.
ChannelKernels* kernels_for(const Tensor& x, const std::vector<Tensor>& others) {
  if (x.dtype() == DType::bf16) return nullptr;
  for (const Tensor& t : others)
    if (t.defined() && (t.dtype() != x.dtype() || &t.backend() != &x.backend())) return nullptr;
  return x.backend().extension<ChannelKernels>();
}

In in_or_none(const Tensor& t) { return t.defined() ? t.in() : In{}; }
Out out_or_none(const Tensor& t) { return t.defined() ? t.out() : Out{}; }

/// The definition.
Tensor composed(const Tensor& x, const ChannelActivation& o) {
  Tensor u = o.scale.defined() ? x * o.scale : x;
  if (o.noise.defined()) u = u + o.noise * o.strength;
  if (o.bias.defined()) u = u + o.bias;
  if (o.residual.defined()) u = u + o.residual;
  if (o.slope != 1) u = leaky_relu(u, o.slope);
  return o.gain == 1 ? u : u * o.gain;
}

Tensor normalised(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  const Tensor centred = x - mean(x, {0, 1, 2});
  return centred * (weight * rsqrt(mean(square(centred), {0, 1, 2}) + eps)) + bias;
}

/// h, the gradient of an activation's argument, from ops.
Tensor argument_gradient(const Tensor& g, const Tensor& y, double slope, double gain) {
  const Tensor scaled = gain == 1 ? g : g * gain;
  return slope == 1 ? scaled : leaky_relu_grad(scaled, y, slope);
}

// Positions of the inputs of channel_activation's node.
enum : int { kX, kScale, kBias, kNoise, kStrength, kResidual };

/// channel_activation's rule from ops: what it is differentiated by again, and what a backend without the
/// kernel runs.
Gradients composed_rule(const Saved& s, const Tensor& h, const Shape& scale, const Shape& bias,
                        const Shape& noise) {
  Gradients gradients(6);
  if (s.needs(kX)) gradients[kX] = scale.rank() > 0 ? h * s.input(kScale) : h;
  if (s.needs(kScale)) gradients[kScale] = sum_to(h * s.input(kX), scale);
  if (s.needs(kBias)) gradients[kBias] = sum_to(h, bias);
  if (s.needs(kNoise)) gradients[kNoise] = sum_to(sum(h, {3}) * s.input(kStrength), noise);
  if (s.needs(kStrength)) gradients[kStrength] = reshape(sum(sum(h, {3}) * s.input(kNoise)), {1});
  if (s.needs(kResidual)) gradients[kResidual] = h;
  return gradients;
}

}  // namespace

Tensor channel_activation(const Tensor& x, const ChannelActivation& options) {
  constexpr const char* kOp = "channel_activation";
  expect_rank(kOp, "x", x, 4);
  if (!(options.slope >= 0 && options.slope <= 1) || !(options.gain > 0))
    fail(kOp, ": expects slope in [0, 1] and gain > 0, got ", options.slope, " and ", options.gain);
  ChannelActivation o = options;
  o.scale = as_coefficients(kOp, o.scale, x);
  o.bias = as_coefficients(kOp, o.bias, x);
  if (o.noise.defined()) {
    if (!o.strength.defined() || o.strength.elements() != 1)
      fail(kOp, ": noise expects a strength of one element");
    o.strength = reshape(o.strength, {1});
    const Shape map{o.noise.rank() == 4 && o.noise.size(0) == 1 ? 1 : x.size(0), x.size(1), x.size(2), 1};
    if (o.noise.shape() != map)
      fail(kOp, ": expects noise ", map, ", got ", o.noise.shape(), " (x ", x.shape(), ")");
  }
  if (o.residual.defined() && o.residual.shape() != x.shape())
    fail(kOp, ": expects a residual ", x.shape(), ", got ", o.residual.shape());
  ChannelKernels* kernels = kernels_for(x, {o.scale, o.bias, o.noise, o.strength, o.residual});
  if (kernels == nullptr) return composed(x, o);

  Tensor y = x.empty_like();
  kernels->channel_activation({x.in(), in_or_none(o.scale), in_or_none(o.bias), in_or_none(o.noise),
                               in_or_none(o.strength), in_or_none(o.residual), o.slope, o.gain},
                              y.out());
  const auto placeholder = [&](const Tensor& t) {
    return t.defined() ? t : Tensor::zeros({}, x.dtype(), x.backend());
  };
  const auto wanted = [](const Tensor& t) { return t.defined() && wants(t); };
  const Keep keep = (o.slope == 1 ? kKeepNothing : kKeepOutput) | keep_input(kX, wanted(o.scale)) |
                    keep_input(kScale, wants(x)) | keep_input(kNoise, wanted(o.strength)) |
                    keep_input(kStrength, wanted(o.noise));
  const auto shape_of = [](const Tensor& t) { return t.defined() ? t.shape() : Shape{}; };
  return record(
      kOp, y,
      {x, placeholder(o.scale), placeholder(o.bias), placeholder(o.noise), placeholder(o.strength),
       placeholder(o.residual)},
      keep,
      [kernels, slope = o.slope, gain = o.gain, scale = shape_of(o.scale), bias = shape_of(o.bias),
       noise = shape_of(o.noise)](const Saved& s, const Tensor& g) {
        const Tensor y = slope == 1 ? Tensor() : s.output().detach();
        if (grad_enabled()) return composed_rule(s, argument_gradient(g, y, slope, gain), scale, bias, noise);
        const Shape per_image{g.size(0), 1, 1, g.size(3)};
        const auto if_needed = [&](bool needed, const Shape& shape) {
          return needed ? g.empty_like(shape) : Tensor();
        };
        const Tensor sum_h = if_needed(s.needs(kBias), per_image),
                     sum_hx = if_needed(s.needs(kScale), per_image);
        const Tensor map =
            if_needed(s.needs(kNoise) || s.needs(kStrength), {g.size(0), g.size(1), g.size(2), 1});
        const Tensor h = if_needed(s.needs(kResidual), g.shape()), gx = if_needed(s.needs(kX), g.shape());
        kernels->channel_activation_grad({.g = g.in(),
                                          .y = in_or_none(y),
                                          .x = s.needs(kScale) ? s.input(kX).in() : In{},
                                          .a = s.needs(kX) && scale.rank() > 0 ? s.input(kScale).in() : In{},
                                          .b = {},
                                          .c = {},
                                          .slope = slope,
                                          .gain = gain,
                                          .x_gradient = out_or_none(gx),
                                          .h = out_or_none(h),
                                          .map = out_or_none(map),
                                          .sum_h = out_or_none(sum_h),
                                          .sum_hx = out_or_none(sum_hx)});
        Gradients gradients = {gx, {}, {}, {}, {}, h};
        if (s.needs(kScale)) gradients[kScale] = sum_to(sum_hx, scale);
        if (s.needs(kBias)) gradients[kBias] = sum_to(sum_h, bias);
        if (s.needs(kNoise)) gradients[kNoise] = sum_to(map * s.input(kStrength), noise);
        if (s.needs(kStrength)) gradients[kStrength] = reshape(sum(map * s.input(kNoise)), {1});
        return gradients;
      });
}

BatchNormResult batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias,
                           const BatchNormOptions& o) {
  constexpr const char* kOp = "batch_norm";
  expect_rank(kOp, "x", x, 4);
  expect_rank(kOp, "weight", weight, 1);
  expect_rank(kOp, "bias", bias, 1);
  if (weight.size(0) != x.size(3) || bias.size(0) != x.size(3))
    fail(kOp, ": expects weight and bias [", x.size(3), "], got ", weight.shape(), " and ", bias.shape(),
         " (x ", x.shape(), ")");
  if (x.elements() == 0) fail(kOp, ": expects at least one element, got x ", x.shape());
  if (o.residual.defined() && o.residual.shape() != x.shape())
    fail(kOp, ": expects a residual ", x.shape(), ", got ", o.residual.shape());
  if (!(o.slope >= 0 && o.slope <= 1)) fail(kOp, ": expects slope in [0, 1], got ", o.slope);
  ChannelKernels* kernels = kernels_for(x, {weight, bias, o.residual});
  const auto statistics = [&](const Tensor& input) {
    const Tensor mean_of = mean(input, {0, 1, 2});
    return std::pair(mean_of, mean(square(input - mean_of), {0, 1, 2}));
  };
  if (kernels == nullptr) {
    const Tensor y =
        channel_activation(normalised(x, weight, bias, o.eps), {.residual = o.residual, .slope = o.slope});
    const auto [mean_of, variance] = statistics(x.detach());
    return {y, mean_of, variance};
  }

  const Shape coefficients{1, 1, 1, x.size(3)};
  const Tensor mean_of = x.empty_like(coefficients), variance = x.empty_like(coefficients);
  kernels->channel_moments(x.in(), mean_of.out(), variance.out());
  Tensor y = x.empty_like();
  Tensor inverse_deviation;
  {
    const NoGrad no_grad;
    inverse_deviation = rsqrt(variance + o.eps);
    const Tensor scale = weight.detach() * inverse_deviation;
    const Tensor shift = bias.detach() - mean_of * scale;
    kernels->channel_activation({x.in(), scale.in(), shift.in(), {}, {}, in_or_none(o.residual), o.slope, 1},
                                y.out());
  }
  const Tensor residual = o.residual.defined() ? o.residual : Tensor::zeros({}, x.dtype(), x.backend());
  // h = gradient of the normalised, scaled and shifted value; with s1 = sum h, s2 = sum h x^ over the batch
  // of M places and x^ = (x - mean) r, r = 1 / sqrt(variance + eps):
  //   d bias = s1, d weight = s2, d x = w r (h - s1 / M - x^ s2 / M)
  y = record(
      kOp, y, {x, weight, bias, residual},
      (o.slope == 1 ? kKeepNothing : kKeepOutput) | keep_input(0) | keep_input(1) | keep_input(2),
      [kernels, slope = o.slope, eps = o.eps, mean_of, r = inverse_deviation](const Saved& s,
                                                                              const Tensor& g) {
        const Tensor y = slope == 1 ? Tensor() : s.output().detach();
        const Tensor x = s.input(0), weight = s.input(1), bias = s.input(2);
        if (grad_enabled()) {
          const Tensor h = argument_gradient(g, y, slope, 1);
          std::vector<Tensor> inputs;
          for (const Tensor& input : {x, weight, bias})
            if (input.requires_grad()) inputs.push_back(input);
          const Tensor again = normalised(x, weight, bias, eps);
          Gradients gradients(4);
          if (again.requires_grad()) {
            const std::vector<Tensor> found =
                grad({again}, inputs, {.output_gradients = {h}, .create_graph = true});
            std::size_t next = 0;
            for (std::size_t i = 0; i < 3; ++i)
              if ((i == 0 ? x : i == 1 ? weight : bias).requires_grad()) gradients[i] = found[next++];
          }
          gradients[3] = h;
          return gradients;
        }
        const Shape per_image{g.size(0), 1, 1, g.size(3)}, coefficients{1, 1, 1, g.size(3)};
        const Tensor sum_h = g.empty_like(per_image), sum_hx = g.empty_like(per_image);
        kernels->channel_activation_grad({.g = g.in(),
                                          .y = in_or_none(y),
                                          .x = x.in(),
                                          .a = {},
                                          .b = {},
                                          .c = {},
                                          .slope = slope,
                                          .gain = 1,
                                          .x_gradient = {},
                                          .h = {},
                                          .map = {},
                                          .sum_h = sum_h.out(),
                                          .sum_hx = sum_hx.out()});
        const Tensor s1 = sum_to(sum_h, coefficients);
        const Tensor s2 = (sum_to(sum_hx, coefficients) - mean_of * s1) * r;
        const Tensor h = s.needs(3) ? g.empty_like() : Tensor(), gx = s.needs(0) ? g.empty_like() : Tensor();
        if (h.defined() || gx.defined()) {
          const double places = static_cast<double>(g.elements() / g.size(3));
          const Tensor a = weight * r, b = -(a * r * s2) / places, c = -(a * s1) / places - b * mean_of;
          kernels->channel_activation_grad({.g = g.in(),
                                            .y = in_or_none(y),
                                            .x = x.in(),
                                            .a = a.in(),
                                            .b = b.in(),
                                            .c = c.in(),
                                            .slope = slope,
                                            .gain = 1,
                                            .x_gradient = out_or_none(gx),
                                            .h = out_or_none(h),
                                            .map = {},
                                            .sum_h = {},
                                            .sum_hx = {}});
        }
        const Shape flat{g.size(3)};
        return Gradients{gx, reshape(s2, flat), reshape(s1, flat), h};
      });
  return {y, mean_of, variance};
}

}  // namespace om
