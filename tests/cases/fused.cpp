// Fused ops. On a backend with ChannelKernels these run its kernels; the reference has none and runs the
// composed definition, so conformance compares the two.
#include "autograd/fused.h"

#include "autograd/ops.h"
#include "tests/cases/case.h"

namespace om::cases {
namespace {

Case fused(std::string name, std::vector<Input> inputs, Function function, int redraws) {
  Case c;
  c.name = std::move(name);
  c.inputs = std::move(inputs);
  c.function = std::move(function);
  c.tolerance = 1e-5;
  c.redraws = redraws;
  return c;
}

constexpr int kRedraws = 30;
const Shape kImage = {2, 3, 5, 7}, kPerImage = {2, 1, 1, 7}, kMap = {2, 3, 5, 1};

/// As the networks run in bf16: images bf16, all else f32. Both forms compute in float32 and round once.
void add_mixed(std::vector<Case>& cases, std::string name, std::vector<Input> inputs, Function function,
               int redraws) {
  cases.push_back(fused(std::move(name), std::move(inputs), std::move(function), redraws));
  cases.back().tolerance_bf16 = 4e-3;
}

/// Convolutions with what stands behind them. Without a derivative they may be one kernel.
void add_convolutions(std::vector<Case>& cases) {
  const auto add = [&](const std::string& name, std::vector<Input> inputs, Function function, int order) {
    add_mixed(cases, "conv2d_activation/" + name, std::move(inputs), std::move(function), kRedraws);
    cases.back().tolerance = 2e-5;
    cases.back().tolerance_bf16 = 1e-2;  // the definition rounds twice
    cases.back().order = order;
  };
  constexpr std::int64_t kC = 16;
  const Input w = normal({kC, 3, 3, kC}), bias = full(normal({kC})), strength = full(normal({1}));
  for (const std::int64_t n : {1, 2}) {
    const Shape image{n, 6, 5, kC}, map{n, 6, 5, 1};
    const Input x = normal(image), scale = full(normal({n, 1, 1, kC})), noise = full(normal(map));
    const std::string of = n == 1 ? "_of_one" : "_of_two";
    add(
        "relu" + of, {x, w, bias},
        [](const Inputs& in) {
          return conv2d_activation(in[0], in[1], Conv2d::same(1, 1), {.bias = in[2], .slope = 0});
        },
        0);
    add(
        "residual" + of, {x, w, bias, x},
        [](const Inputs& in) {
          return conv2d_activation(in[0], in[1], Conv2d::same(1, 1),
                                   {.bias = in[2], .residual = in[3], .slope = 0});
        },
        0);
    add(
        "styled" + of, {x, w, bias, scale, noise, strength},
        [](const Inputs& in) {
          return conv2d_activation(in[0], in[1], Conv2d::same(1, 1),
                                   {in[3], in[2], in[4], in[5], {}, 0.2, 1.5});
        },
        0);
    add(
        "styled_and_scaled" + of, {x, w, bias, scale, noise, strength, scale},
        [](const Inputs& in) {
          return conv2d_activation(in[0], in[1], Conv2d::same(1, 1),
                                   {in[3], in[2], in[4], in[5], {}, 0.2, 1.5, in[6]});
        },
        0);
  }
  add(
      "strided", {normal({2, 7, 6, 8}), normal({24, 3, 3, 8}), full(normal({24}))},
      [](const Inputs& in) {
        return conv2d_activation(in[0], in[1], Conv2d::same(2, 1), {.bias = in[2], .slope = 0});
      },
      0);
  add(
      "odd_channels", {normal({2, 4, 3, 3}), normal({5, 3, 3, 3}), full(normal({5}))},
      [](const Inputs& in) {
        return conv2d_activation(in[0], in[1], Conv2d::same(1, 1), {.bias = in[2], .slope = 0.2});
      },
      0);
  add(
      "differentiable", {normal({2, 4, 3, 3}), normal({5, 3, 3, 3}), full(normal({5}))},
      [](const Inputs& in) {
        return conv2d_activation(in[0], in[1], Conv2d::same(1, 1), {.bias = in[2], .gain = 1.5});
      },
      2);
}

void add_activations(std::vector<Case>& cases) {
  const Input x = normal(kImage), scale = full(normal(kPerImage)), bias = full(normal({7})),
              noise = full(normal(kMap)), strength = full(normal({1}));
  add_mixed(
      cases, "channel_activation/everything", {x, scale, bias, noise, strength, x},
      [](const Inputs& in) {
        return channel_activation(in[0], {in[1], in[2], in[3], in[4], in[5], 0.2, 1.5});
      },
      kRedraws);
  add_mixed(
      cases, "channel_activation/shared_coefficients_and_noise",
      {x, full(normal({1, 1, 1, 7})), full(normal({1, 1, 1, 7})), full(normal({1, 3, 5, 1})), strength},
      [](const Inputs& in) {
        return channel_activation(in[0], {in[1], in[2], in[3], in[4], {}, 0.2, 1.5});
      },
      kRedraws);
  add_mixed(
      cases, "channel_activation/bias_per_image", {x, full(normal(kPerImage))},
      [](const Inputs& in) { return channel_activation(in[0], {.bias = in[1]}); }, 0);
  add_mixed(
      cases, "channel_activation/relu", {normal_away_from({0}, kImage)},
      [](const Inputs& in) { return channel_activation(in[0], {.slope = 0}); }, 0);
  add_mixed(
      cases, "channel_activation/linear_residual", {x, bias, x},
      [](const Inputs& in) {
        return channel_activation(in[0], {.scale = in[1], .residual = in[2], .gain = 0.5});
      },
      0);
  add_mixed(
      cases, "channel_activation/scale_alone_differentiable", {fixed(x), scale},
      [](const Inputs& in) { return channel_activation(in[0], {.scale = in[1]}); }, 0);
  // Of both signs: the result no longer tells the argument's sign.
  add_mixed(
      cases, "channel_activation/factor", {x, scale, bias, noise, strength, scale},
      [](const Inputs& in) {
        return channel_activation(in[0], {in[1], in[2], in[3], in[4], {}, 0.2, 1.5, in[5]});
      },
      kRedraws);
  add_mixed(
      cases, "channel_activation/factor_and_residual", {x, x, full(normal({1, 1, 1, 7}))},
      [](const Inputs& in) {
        return channel_activation(in[0], {.residual = in[1], .slope = 0, .factor = in[2]});
      },
      kRedraws);
  add_mixed(
      cases, "channel_activation/factor_alone_differentiable", {fixed(x), scale},
      [](const Inputs& in) { return channel_activation(in[0], {.factor = in[1]}); }, 0);
  Case empty = fused(
      "channel_activation/empty", {normal({0, 3, 5, 7}), normal({7})},
      [](const Inputs& in) { return channel_activation(in[0], {.bias = in[1], .slope = 0.2}); }, 0);
  empty.order = 0;
  cases.push_back(empty);
  cases.push_back(fused(
      "channel_activation/more_than_a_tile", {normal({1, 40, 33, 30}), normal({30})},
      [](const Inputs& in) { return channel_activation(in[0], {.scale = in[1], .gain = 2}); }, 0));
  cases.back().order = 1;
  cases.push_back(fused(
      "channel_activation/factor_beyond_a_tile", {normal({2, 40, 33, 30}), normal({30}), normal({30})},
      [](const Inputs& in) {
        return channel_activation(in[0], {.scale = in[1], .slope = 0.2, .factor = in[2]});
      },
      0));
  cases.back().order = 1;
  cases.back().drivers = kConformance;
}

void add_batch_norms(std::vector<Case>& cases) {
  const Input x = normal({3, 2, 4, 5}), weight = full(normal({5})), bias = full(normal({5}));
  add_mixed(
      cases, "batch_norm/plain", {x, weight, bias},
      [](const Inputs& in) { return batch_norm(in[0], in[1], in[2], {}).y; }, 0);
  add_mixed(
      cases, "batch_norm/relu", {x, weight, bias},
      [](const Inputs& in) { return batch_norm(in[0], in[1], in[2], {.slope = 0}).y; }, kRedraws);
  add_mixed(
      cases, "batch_norm/residual_relu", {x, weight, bias, x},
      [](const Inputs& in) { return batch_norm(in[0], in[1], in[2], {.residual = in[3], .slope = 0}).y; },
      kRedraws);
  add_mixed(
      cases, "batch_norm/weight_alone_differentiable", {fixed(x), weight, fixed(bias)},
      [](const Inputs& in) { return batch_norm(in[0], in[1], in[2], {}).y; }, 0);
  // x itself depends on weight and bias: a rule's derivatives must be partial ones.
  Case twice = fused(
      "batch_norm/twice_with_the_same_weight", {x, weight, bias},
      [](const Inputs& in) {
        const Tensor h = batch_norm(in[0], in[1], in[2], {}).y;
        return batch_norm(h * h, in[1], in[2], {}).y;
      },
      0);
  twice.tolerance = 2e-5;
  twice.tolerance_bf16 = 0;  // squares of rounded numbers
  cases.push_back(twice);
  // A variance of about 1e-5 and of 0, beside which eps counts.
  Case small = fused(
      "batch_norm/variance_near_eps", {uniform({2, 2, 3, 4}, -5e-3, 5e-3), normal({4}), normal({4})},
      [](const Inputs& in) { return batch_norm(in[0], in[1], in[2], {.eps = 1e-5}).y; }, 0);
  small.tolerance = 2e-5;
  small.step = 1e-6;
  cases.push_back(small);
  cases.push_back(fused(
      "batch_norm/constant_channels",
      {values({1, 2, 2, 2}, {3, -1, 3, -1, 3, -1, 3, -1}), normal({2}), normal({2})},
      [](const Inputs& in) { return batch_norm(in[0], in[1], in[2], {.eps = 1e-5}).y; }, 0));
  cases.back().order = 0;
  cases.back().tolerance = 2e-4;  // x scale + shift, with a scale of 1 / sqrt(eps), cancels
  Case statistics = fused(
      "batch_norm/statistics", {normal({3, 20, 9, 5}), normal({5}), normal({5})},
      [](const Inputs& in) {
        const BatchNormResult result = batch_norm(in[0] + 30.0, in[1], in[2], {});
        return concat({result.mean, result.variance}, 0);
      },
      0);
  statistics.order = 0;
  statistics.tolerance_bf16 = 0;  // the mean is large beside bf16's steps
  cases.push_back(statistics);
}

void add_distances(std::vector<Case>& cases) {
  const Shape features{2, 3, 4, 5};
  const auto distance = [](const Inputs& in) { return feature_distance(in[0], in[1], in[2]); };
  add_mixed(cases, "feature_distance/plain", {normal(features), normal(features), full(normal({5}))},
            distance, 0);
  add_mixed(cases, "feature_distance/one_side_differentiable",
            {normal(features), fixed(normal(features)), fixed(full(normal({5})))}, distance, 0);
  // Identical features are at distance 0, and with gradient 0, exactly.
  cases.push_back(fused(
      "feature_distance/of_itself", {normal({1, 5, 7, 19}), full(normal({19}))},
      [](const Inputs& in) { return feature_distance(in[0], in[0], in[1]); }, 0));
  cases.back().order = 1;
  cases.back().drivers = kConformance;
  // Norms near the epsilon, where it counts.
  Case small =
      fused("feature_distance/norms_near_eps",
            {uniform(features, 1e-10, 2e-10), uniform(features, -2e-10, -1e-10), normal({5})}, distance, 0);
  small.order = 1;
  small.drivers = kConformance;
  cases.push_back(small);
  // A pixel without any feature on either side: value of the other alone, gradient 0.
  Case empty = fused("feature_distance/zero_vectors",
                     {values({1, 1, 3, 2}, {0, 0, 3, 4, 0, 0}), values({1, 1, 3, 2}, {1, -2, 0, 0, 0, 0}),
                      values({2}, {0.5, 2})},
                     distance, 0);
  empty.order = 1;
  empty.drivers = kConformance;
  empty.tolerance_bf16 = 4e-3;
  cases.push_back(empty);
  Case large = fused("feature_distance/more_than_a_tile",
                     {normal({2, 40, 33, 30}), normal({2, 40, 33, 30}), full(normal({30}))}, distance, 0);
  large.order = 1;
  large.drivers = kConformance;
  large.tolerance_bf16 = 4e-3;
  cases.push_back(large);
  cases.push_back(fused("feature_distance/no_images",
                        {normal({0, 3, 4, 5}), normal({0, 3, 4, 5}), normal({5})}, distance, 0));
  cases.back().order = 0;
}

}  // namespace

std::vector<Case> fused_cases() {
  std::vector<Case> cases;
  add_activations(cases);
  add_convolutions(cases);
  add_batch_norms(cases);
  add_distances(cases);
  return cases;
}

}  // namespace om::cases
