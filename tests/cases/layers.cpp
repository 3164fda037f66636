// Cases of the layers in nn/. Their names begin with "nn/", so that the nn floor's tests run alone.
//
// A layer's parameters are inputs of its case, after x: use_as_parameters() puts their numbers and their
// nodes into a fresh layer, so gradients reach them like any other input.
#include "nn/batch_norm.h"
#include "nn/conv.h"
#include "nn/equalized.h"
#include "nn/linear.h"
#include "nn/losses.h"
#include "nn/modulated_conv.h"
#include "nn/resample.h"
#include "tests/cases/case.h"

namespace om::cases {
namespace {

Placement place_of(const Inputs& inputs) { return {inputs[0].backend(), inputs[0].dtype()}; }

/// Gives `module` the inputs from `first` on as its parameters, in order.
void use_as_parameters(const Module& module, const Inputs& inputs, std::size_t first) {
  for (const Entry& entry : module.parameters()) {
    const Tensor& value = inputs.at(first++);
    entry.value.assign(value.detach());
    entry.value.set_node(value.node());
  }
}

Case layer(std::string name, std::vector<Input> inputs, Function function, int redraws = 0) {
  Case c;
  c.name = "nn/" + std::move(name);
  c.inputs = std::move(inputs);
  c.function = std::move(function);
  c.tolerance = 1e-5;
  c.tolerance_bf16 = 0;  // parameters keep float32; precision scopes are tested with the ops
  c.redraws = redraws;
  return c;
}

constexpr int kRedraws = 30;  // of layers with a leaky relu inside

Tensor styled_conv(const Inputs& in, ModulatedConv::Kind kind) {
  const StyledConv conv(place_of(in), {3, 4, 3, 5, kind});
  use_as_parameters(conv, in, 3);
  return conv(in[0], in[1], in[2]);
}

Tensor modulated_conv(const Inputs& in, const ModulatedConv::Options& options) {
  const ModulatedConv conv(place_of(in), options);
  use_as_parameters(conv, in, 2);
  const Tensor style = conv.style(in[1]);
  return conv.on_scaled(scaled(in[0], style), style, {});
}

}  // namespace

std::vector<Case> layer_cases() {
  using Kind = ModulatedConv::Kind;
  std::vector<Case> cases;
  cases.push_back(layer("linear/plain", {normal({3, 5}), normal({4, 5}), normal({4})}, [](const Inputs& in) {
    const Linear linear(place_of(in), 5, 4);
    use_as_parameters(linear, in, 1);
    return linear(in[0]);
  }));
  cases.push_back(
      layer("equal_linear/lr_mul", {normal({3, 5}), normal({4, 5}), normal({4})}, [](const Inputs& in) {
        const EqualLinear linear(place_of(in), 5, 4, 0.3);
        use_as_parameters(linear, in, 1);
        return linear(in[0]);
      }));
  cases.push_back(layer(
      "equal_linear/activated", {normal({3, 5}), normal({4, 5}), normal({4})},
      [](const Inputs& in) {
        const EqualLinear linear(place_of(in), 5, 4, 0.3, true);
        use_as_parameters(linear, in, 1);
        return linear(in[0]);
      },
      kRedraws));
  cases.push_back(
      layer("pixel_norm/rows", {normal({3, 5})}, [](const Inputs& in) { return pixel_norm(in[0]); }));
  cases.push_back(layer("conv/stride2_bias", {normal({2, 5, 6, 3}), normal({4, 3, 3, 3}), normal({4})},
                        [](const Inputs& in) {
                          const Conv conv(place_of(in), {3, 4, 3, 2, 1}, true);
                          use_as_parameters(conv, in, 1);
                          return conv(in[0]);
                        }));
  cases.push_back(
      layer("he_linear/plain", {normal({3, 5}), normal({4, 5}), normal({4})}, [](const Inputs& in) {
        const HeLinear linear(place_of(in), 5, 4);
        use_as_parameters(linear, in, 1);
        return linear(in[0]);
      }));
  cases.push_back(
      layer("he_conv/same", {normal({2, 4, 5, 3}), normal({4, 3, 3, 3}), normal({4})}, [](const Inputs& in) {
        const HeConv conv(place_of(in), {3, 4, 3, 1, 1});
        use_as_parameters(conv, in, 1);
        return conv(in[0]);
      }));
  cases.push_back(layer("fused_upsample/plain", {normal({2, 3, 4, 3}), normal({3, 3, 3, 4}), normal({4})},
                        [](const Inputs& in) {
                          const FusedUpsample up(place_of(in), 3, 4);
                          use_as_parameters(up, in, 1);
                          return up(in[0]);
                        }));
  for (const std::int64_t maps : {1, 2})
    cases.push_back(layer(text("channel_noise/", maps == 1 ? "shared" : "per_sample"),
                          {normal({2, 3, 4, 3}), normal({maps, 3, 4, 1}), normal({1, 1, 1, 3})},
                          [](const Inputs& in) {
                            const ChannelNoise noise(place_of(in), 3);
                            use_as_parameters(noise, in, 2);
                            return noise(in[0], in[1]);
                          }));
  const auto adain = [](const Inputs& in) {
    const AdaIn norm(place_of(in), 3, 5);
    use_as_parameters(norm, in, 2);
    return norm(in[0], in[1]);
  };
  cases.push_back(
      layer("adain/plain", {normal({2, 4, 3, 3}), normal({2, 5}), normal({6, 5}), normal({6})}, adain));
  cases.push_back(layer("adain/deviation_near_eps",
                        {uniform({2, 4, 3, 3}, -0.005, 0.005), normal({2, 5}), normal({6, 5}), normal({6})},
                        adain));
  for (const bool training : {false, true})
    cases.push_back(layer(text("batch_norm/", training ? "train" : "eval"),
                          {normal({2, 3, 2, 4}), normal({4}), normal({4})}, [training](const Inputs& in) {
                            BatchNorm norm(place_of(in), 4);
                            use_as_parameters(norm, in, 1);
                            for (const Entry& entry : norm.entries())
                              if (entry.name.starts_with("running_"))
                                entry.value.fill(entry.name == "running_var" ? 1.7 : 0.3);
                            norm.set_training(training);
                            return norm(in[0]);
                          }));
  cases.push_back(layer("resample/upsample2", {normal({2, 3, 4, 2})}, [](const Inputs& in) {
    return upsample2(in[0], fir_filter({1, 3, 3, 1}, 4, in[0].dtype(), in[0].backend()));
  }));
  cases.push_back(layer("resample/nearest", {normal({2, 3, 4, 2})}, [](const Inputs& in) {
    return upsample2(in[0], fir_filter({1, 1}, 4, in[0].dtype(), in[0].backend()));
  }));
  for (const std::int64_t side : {2, 9})
    cases.push_back(layer(text("resample/linear_to_", side), {normal({2, 3, 5, 2})},
                          [side](const Inputs& in) { return resize_linear(in[0], side, side + 1); }));
  cases.push_back(layer("resample/average_pool3", {normal({2, 3, 4, 2})},
                        [](const Inputs& in) { return average_pool3(in[0]); }));
  cases.push_back(layer("resample/blur", {normal({1, 5, 4, 2})}, [](const Inputs& in) {
    return blur(in[0], fir_filter({1, 3, 3, 1}, 4, in[0].dtype(), in[0].backend()), 1, 1);
  }));
  const std::vector<Input> modulated = {normal({2, 4, 3, 3}), normal({2, 5}), normal({4, 3, 3, 3}),
                                        normal({3, 5}), normal({3})};
  cases.push_back(layer("modulated_conv/demodulated", modulated, [](const Inputs& in) {
    return modulated_conv(in, {3, 4, 3, 5, Kind::same, true});
  }));
  cases.push_back(layer("modulated_conv/plain", modulated, [](const Inputs& in) {
    return modulated_conv(in, {3, 4, 3, 5, Kind::same, false});
  }));
  cases.push_back(
      layer("modulated_conv/up",
            {normal({2, 4, 3, 3}), normal({2, 5}), normal({3, 3, 3, 4}), normal({3, 5}), normal({3})},
            [](const Inputs& in) {
              return modulated_conv(in, {3, 4, 3, 5, Kind::up, true});
            }));
  // parameters of a styled conv in order: conv.weight, conv.modulation.{weight,bias}, noise.weight,
  // activate.bias
  cases.push_back(layer(
      "styled_conv/noise_per_sample",
      {normal({2, 4, 3, 3}), normal({2, 5}), normal({2, 4, 3, 1}), normal({4, 3, 3, 3}), normal({3, 5}),
       normal({3}), normal({1}), normal({4})},
      [](const Inputs& in) { return styled_conv(in, Kind::same); }, kRedraws));
  cases.push_back(layer(
      "styled_conv/up_shared_noise",
      {normal({2, 3, 2, 3}), normal({2, 5}), normal({1, 6, 4, 1}), normal({3, 3, 3, 4}), normal({3, 5}),
       normal({3}), normal({1}), normal({4})},
      [](const Inputs& in) { return styled_conv(in, Kind::up); }, kRedraws));
  cases.push_back(layer("to_rgb/first",
                        {normal({2, 4, 4, 3}), normal({2, 5}), normal({1, 1, 1, 3}), normal({3, 1, 1, 3}),
                         normal({3, 5}), normal({3})},
                        [](const Inputs& in) {
                          const ToRgb rgb(place_of(in), 3, 5, false);
                          use_as_parameters(rgb, in, 2);
                          return rgb(in[0], in[1], {});
                        }));
  cases.push_back(layer("to_rgb/skip",
                        {normal({2, 4, 4, 3}), normal({2, 5}), normal({2, 2, 2, 3}), normal({1, 1, 1, 3}),
                         normal({3, 1, 1, 3}), normal({3, 5}), normal({3})},
                        [](const Inputs& in) {
                          const ToRgb rgb(place_of(in), 3, 5, true);
                          use_as_parameters(rgb, in, 3);
                          return rgb(in[0], in[1], in[2]);
                        }));
  cases.push_back(layer("losses/sum_of_mse", {normal({3, 2, 4, 3}), normal({3, 2, 4, 3})},
                        [](const Inputs& in) { return sum_of_mse(in[0], in[1]); }));
  return cases;
}

}  // namespace om::cases
