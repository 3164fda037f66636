// batch_norm. With M pixels, x^ = (x - mean) r, r = 1 / sqrt(variance + eps) and h the gradient of the
// normalised, scaled and shifted value (Ioffe and Szegedy 2015, section 3):
//   d bias = sum h = s1,  d weight = sum h x^ = s2,  d x = weight r (h - s1 / M - x^ s2 / M)
#include "autograd/all_sum.h"
#include "autograd/fuse.h"
#include "autograd/fused.h"
#include "tensor/fused.h"

namespace om {
namespace {

using namespace detail;

constexpr const char* kOp = "batch_norm";

/// Positions among the inputs of the node. The last two are constants to it: handed to the caller as well,
/// and therefore kept like any operand, so that overwriting them is noticed.
enum : int { kX, kWeight, kBias, kResidual, kMean, kR, kInputs };

struct Normalised {
  explicit Normalised(const Tensor& x_, double eps) {
    const Tensor x = cast(x_, computed(x_.dtype()));
    mean_of = mean(x, {0, 1, 2});
    const Tensor centred = x - mean_of;
    variance = mean(square(centred), {0, 1, 2});
    r = rsqrt(variance + eps);
    value = centred * r;
  }
  Tensor mean_of, variance, r, value;  // value: x^
};

/// From ops. The kept statistics are constants; here they depend on x, and are formed again.
Gradients rule(const Saved& s, const Tensor& g_, double slope, double eps) {
  const Tensor g = cast(g_, computed(g_.dtype()));
  const Tensor h = argument_gradient(g, slope == 1 ? Tensor() : s.output(), slope, 1);
  const Normalised x(s.input(kX), eps);
  const Tensor s1 = sum(h, {0, 1, 2}), s2 = sum(h * x.value, {0, 1, 2});
  const double places = static_cast<double>(g.elements() / g.size(3));
  Gradients gradients(kInputs);
  if (s.needs(kX))
    gradients[kX] = cast((h - s1 / places - x.value * (s2 / places)) * (s.input(kWeight) * x.r), g_.dtype());
  if (s.needs(kWeight)) gradients[kWeight] = reshape(s2, s.shape(kWeight));
  if (s.needs(kBias)) gradients[kBias] = reshape(s1, s.shape(kBias));
  if (s.needs(kResidual)) gradients[kResidual] = cast(h, g_.dtype());
  return gradients;
}

Gradients fast_rule(BatchNormKernels& kernels, const Saved& s, const Tensor& g, double slope) {
  const auto channels = [&](bool needed) {
    return needed ? Tensor::empty({g.size(3)}, computed(g.dtype()), g.backend()) : Tensor();
  };
  const auto image = [&](bool needed) { return needed ? g.empty_like() : Tensor(); };
  Gradients gradients(kInputs);
  gradients[kX] = image(s.needs(kX));
  gradients[kWeight] = channels(s.needs(kWeight));
  gradients[kBias] = channels(s.needs(kBias));
  gradients[kResidual] = image(s.needs(kResidual));
  kernels.batch_norm_grad({.g = g.in(),
                           .y = slope == 1 ? In{} : s.output().in(),
                           .x = s.input(kX).in(),
                           .weight = s.input(kWeight).in(),
                           .mean = s.input(kMean).in(),
                           .r = s.input(kR).in(),
                           .slope = slope,
                           .x_gradient = out_or_none(gradients[kX]),
                           .h = out_or_none(gradients[kResidual]),
                           .weight_gradient = out_or_none(gradients[kWeight]),
                           .bias_gradient = out_or_none(gradients[kBias])});
  return gradients;
}

/// By the statistics of all ranks' batches: the definition, with sums over the ranks in it. In ops alone, so
/// that the gradients' sums go over the ranks too.
BatchNormResult synchronised(const Tensor& x_, const Tensor& weight, const Tensor& bias,
                             const Tensor& residual, DType images, const BatchNormOptions& o) {
  const Tensor x = cast(x_, computed(images));
  const double places = static_cast<double>(x.elements() / x.size(3)) * o.together->size();
  const auto mean_over_ranks = [&](const Tensor& each) {
    return all_sum(sum(each, {0, 1, 2}), *o.together) / places;
  };
  const Tensor mean = mean_over_ranks(x), centred = x - mean, variance = mean_over_ranks(square(centred));
  const Tensor value = centred * rsqrt(variance + o.eps) * weight + bias;
  return {cast(channel_activation(value, {.residual = residual, .slope = o.slope}), images), mean.detach(),
          variance.detach()};
}

}  // namespace

BatchNormResult batch_norm(const Tensor& x_, const Tensor& weight_, const Tensor& bias_,
                           const BatchNormOptions& o) {
  expect_rank(kOp, "x", x_, 4);
  expect_rank(kOp, "weight", weight_, 1);
  expect_rank(kOp, "bias", bias_, 1);
  expect_floating(kOp, x_);
  for (const Tensor& t : {weight_, bias_, o.residual})
    if (t.defined()) same_backend(kOp, x_, t);
  if (weight_.size(0) != x_.size(3) || bias_.size(0) != x_.size(3))
    fail(kOp, ": expects weight and bias [", x_.size(3), "], got ", weight_.shape(), " and ", bias_.shape(),
         " (x ", x_.shape(), ")");
  if (x_.elements() == 0) fail(kOp, ": expects at least one element, got x ", x_.shape());
  if (o.residual.defined() && o.residual.shape() != x_.shape())
    fail(kOp, ": expects a residual ", x_.shape(), ", got ", o.residual.shape());
  if (!(o.slope >= 0 && o.slope <= 1)) fail(kOp, ": expects slope in [0, 1], got ", o.slope);
  const DType images = image_dtype(
      o.residual.defined() ? promoted(x_.dtype(), o.residual.dtype()) : x_.dtype(), {weight_, bias_});
  const Tensor x = cast(x_, images), residual = cast_if_defined(o.residual, images);
  const Tensor weight = cast(weight_, computed(images)), bias = cast(bias_, computed(images));

  if (o.together != nullptr) return synchronised(x, weight, bias, residual, images, o);
  BatchNormResult result;
  const auto statistic = [&] { return Tensor::empty({1, 1, 1, x.size(3)}, computed(images), x.backend()); };
  result.mean = statistic(), result.variance = statistic();
  const Tensor r = statistic();
  const auto definition = [&] {
    const Normalised normalised(x, o.eps);
    result.mean = normalised.mean_of.detach();
    result.variance = normalised.variance.detach();
    const Tensor value = normalised.value * weight + bias;
    return cast(channel_activation(value, {.residual = residual, .slope = o.slope}), images);
  };
  const auto forward = [&](BatchNormKernels& kernels) {
    Tensor y = x.empty_like();
    kernels.batch_norm({.x = x.in(),
                        .weight = weight.in(),
                        .bias = bias.in(),
                        .residual = in_or_none(residual),
                        .eps = o.eps,
                        .slope = o.slope,
                        .y = y.out(),
                        .mean = result.mean.out(),
                        .variance = result.variance.out(),
                        .r = r.out()});
    return y;
  };
  result.y = fuse<BatchNormKernels>(
      {x, weight, bias, residual, result.mean, r},
      {.op = kOp,
       .definition = definition,
       .forward = forward,
       .keep = (o.slope == 1 ? kKeepNothing : kKeepOutput) | keep_input(kX) | keep_input(kWeight) |
               keep_input(kMean) | keep_input(kR),
       .rule = [slope = o.slope, eps = o.eps](const Saved& s,
                                              const Tensor& g) { return rule(s, g, slope, eps); },
       .fast_rule = [slope = o.slope](BatchNormKernels& kernels, const Saved& s,
                                      const Tensor& g) { return fast_rule(kernels, s, g, slope); }});
  return result;
}

}  // namespace om
