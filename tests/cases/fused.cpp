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

}  // namespace

std::vector<Case> fused_cases() {
  std::vector<Case> cases;
  const Shape x{2, 3, 5, 7}, per_image{2, 1, 1, 7}, map{2, 3, 5, 1}, shared_map{1, 3, 5, 1};
  cases.push_back(fused(
      "channel_activation/everything",
      {normal(x), normal(per_image), normal({7}), normal(map), normal({1}), normal(x)},
      [](const Inputs& in) {
        return channel_activation(in[0], {in[1], in[2], in[3], in[4], in[5], 0.2, 1.5});
      },
      kRedraws));
  cases.push_back(fused(
      "channel_activation/shared_coefficients_and_noise",
      {normal(x), normal({1, 1, 1, 7}), normal({1, 1, 1, 7}), normal(shared_map), normal({1})},
      [](const Inputs& in) {
        return channel_activation(in[0], {in[1], in[2], in[3], in[4], {}, 0.2, 1.5});
      },
      kRedraws));
  cases.push_back(fused(
      "channel_activation/bias_per_image", {normal(x), normal(per_image)},
      [](const Inputs& in) { return channel_activation(in[0], {.bias = in[1]}); }, 0));
  cases.push_back(fused(
      "channel_activation/relu", {normal_away_from({0}, x)},
      [](const Inputs& in) { return channel_activation(in[0], {.slope = 0}); }, 0));
  cases.push_back(fused(
      "channel_activation/linear_residual", {normal(x), normal({7}), normal(x)},
      [](const Inputs& in) {
        return channel_activation(in[0], {.scale = in[1], .residual = in[2], .gain = 0.5});
      },
      0));
  cases.push_back(fused(
      "channel_activation/scale_alone_differentiable", {fixed(normal(x)), normal(per_image)},
      [](const Inputs& in) { return channel_activation(in[0], {.scale = in[1]}); }, 0));
  Case empty = fused(
      "channel_activation/empty", {normal({0, 3, 5, 7}), normal({7})},
      [](const Inputs& in) { return channel_activation(in[0], {.bias = in[1], .slope = 0.2}); }, 0);
  empty.order = 0;
  cases.push_back(empty);
  cases.push_back(fused(
      "channel_activation/more_than_a_tile", {normal({1, 40, 33, 30}), normal({30})},
      [](const Inputs& in) { return channel_activation(in[0], {.scale = in[1], .gain = 2}); }, 0));
  cases.back().order = 1;

  const std::vector<Input> norm = {normal({3, 2, 4, 5}), normal({5}), normal({5})};
  cases.push_back(fused(
      "batch_norm/plain", norm, [](const Inputs& in) { return batch_norm(in[0], in[1], in[2], {}).y; }, 0));
  cases.push_back(fused(
      "batch_norm/relu", norm,
      [](const Inputs& in) { return batch_norm(in[0], in[1], in[2], {.slope = 0}).y; }, kRedraws));
  cases.push_back(fused(
      "batch_norm/residual_relu", {norm[0], norm[1], norm[2], normal({3, 2, 4, 5})},
      [](const Inputs& in) { return batch_norm(in[0], in[1], in[2], {.residual = in[3], .slope = 0}).y; },
      kRedraws));
  cases.push_back(fused(
      "batch_norm/weight_alone_differentiable", {fixed(norm[0]), norm[1], fixed(norm[2])},
      [](const Inputs& in) { return batch_norm(in[0], in[1], in[2], {}).y; }, 0));
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
  return cases;
}

}  // namespace om::cases
