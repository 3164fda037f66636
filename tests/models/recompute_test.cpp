// Networks whose blocks are recomputed in the backward pass (autograd/recompute.h) give the same bits.
#include <gtest/gtest.h>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "autograd/recompute.h"
#include "models/encoder.h"
#include "models/lpips.h"
#include "models/stylegan1.h"
#include "models/stylegan2.h"
#include "nn/initial.h"
#include "tensor/registry.h"

namespace om {
namespace {

using Numbers = std::vector<std::vector<float>>;

/// y and the gradients of its squares' sum, with recomputing or without.
template <class Function>
Numbers numbers(bool on, const Function& function, const std::vector<Tensor>& variables) {
  const RecomputeScope scope(on);
  const Tensor y = function();
  Numbers out = {y.template to_host<float>()};
  for (const Tensor& g : grad({sum(square(y))}, variables, {.allow_unused = true}))
    out.push_back(g.defined() ? g.to_host<float>() : std::vector<float>());
  return out;
}

template <class Function>
void expect_same(const Function& function, const std::vector<Tensor>& variables) {
  for (const Tensor& v : variables) require_grad(v);
  const Numbers plain = numbers(false, function, variables);
  EXPECT_EQ(numbers(true, function, variables), plain);
}

/// By the latents and noise maps alone, as in training, and by the parameters too.
void check_generator(const Decoder& generator) {
  RandomSource random(1, backend("cpu"));
  randomize(generator, random);
  const Tensor w = random.normal({2, generator.latents(), generator.latent_width()});
  std::vector<Tensor> variables = {w}, noise;
  for (const std::int64_t side : generator.noise_sizes()) noise.push_back(random.normal({2, side, side, 1}));
  variables.insert(variables.end(), noise.begin(), noise.end());
  const auto image = [&] { return generator.synthesize(w, noise); };
  expect_same(image, variables);
  for (const Entry& entry : generator.parameters()) variables.push_back(entry.value);
  expect_same(image, variables);
}

TEST(RecomputedNetworks, StyleGan2) {
  StyleGan2Config config;
  config.z_width = 6;
  config.latent_width = 5;
  config.mapping_layers = 2;
  config.constant_channels = 4;
  config.channels = {4, 6, 3};
  check_generator(StyleGan2(config, {backend("cpu")}));
  config.conv_clamp = 0.5;
  check_generator(StyleGan2(config, {backend("cpu")}));
}

TEST(RecomputedNetworks, StyleGan1) {
  StyleGan1Config config;
  config.z_width = 6;
  config.latent_width = 5;
  config.mapping_layers = 2;
  config.constant_channels = 4;
  config.channels = {4, 6, 3};
  config.fused = {false, false, true};
  check_generator(StyleGan1(config, {backend("cpu")}));
}

TEST(RecomputedNetworks, EncoderAndItsRunningStatistics) {
  Backend& cpu = backend("cpu");
  const auto run = [&](bool on) {
    RandomSource random(2, cpu);
    EncoderConfig config;
    config.latent_width = 5;
    config.channels = {3, 4, 5};
    Encoder encoder(config, {cpu});
    initialize(encoder, random);
    encoder.set_training(true);
    encoder.set_trainable(true);
    const Tensor image = random.normal({3, 16, 16, 3});
    std::vector<Tensor> variables;
    for (const Entry& entry : encoder.parameters()) variables.push_back(entry.value);
    const auto code = [&] {
      const Code parts = encoder(image);
      std::vector<Tensor> flat = {reshape(parts.latent, {parts.latent.elements()})};
      for (const Tensor& map : parts.noise) flat.push_back(reshape(map, {map.elements()}));
      return concat(flat, 0);
    };
    Numbers out = numbers(on, code, variables);
    std::size_t counted = 0;
    for (const Entry& entry : encoder.entries()) {
      if (entry.value.dtype() == DType::f32) {
        out.push_back(entry.value.to_host<float>());
      } else if (!entry.name.starts_with("intermediate_block.")) {
        EXPECT_EQ(entry.value.item(), 1) << entry.name;  // one batch was seen
        ++counted;
      }
    }
    EXPECT_GT(counted, 10U);
    return out;
  };
  EXPECT_EQ(run(true), run(false));
}

TEST(RecomputedNetworks, LpipsOnThreeBackbones) {
  for (const std::string net : {"vgg", "alex", "squeeze"}) {
    SCOPED_TRACE(net);
    FileShapes backbone, heads;
    const auto conv = [&](const std::string& name, std::int64_t in, std::int64_t out, std::int64_t kernel) {
      backbone[name + ".weight"] = {out, in, kernel, kernel};
      backbone[name + ".bias"] = {out};
    };
    std::int64_t in = 3, taps = 5;
    if (net == "vgg") {
      for (const int i : {0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28})
        conv(text("features.", i), std::exchange(in, 4), 4, 3);
    } else if (net == "alex") {
      const std::pair<int, int> layers[] = {{0, 11}, {3, 5}, {6, 3}, {8, 3}, {10, 3}};
      for (const auto& [i, kernel] : layers) conv(text("features.", i), std::exchange(in, 4), 4, kernel);
    } else {
      taps = 7;
      conv("features.0", 3, 4, 3);
      for (const int i : {3, 4, 6, 7, 9, 10, 11, 12}) {
        conv(text("features.", i, ".squeeze"), 4, 2, 1);
        conv(text("features.", i, ".expand1x1"), 2, 2, 1);
        conv(text("features.", i, ".expand3x3"), 2, 2, 3);
      }
    }
    for (std::int64_t i = 0; i < taps; ++i) heads[text("lin", i, ".model.1.weight")] = {1, 4, 1, 1};
    const Lpips lpips(backbone, heads, {backend("cpu")});
    RandomSource random(4, backend("cpu"));
    randomize(lpips, random, 0.5);
    const Tensor a = random.uniform({2, 48, 48, 3}), b = random.uniform({2, 48, 48, 3});
    expect_same([&] { return lpips(a, b); }, {a});
    std::vector<Tensor> variables = {a, b};
    for (const Entry& entry : lpips.parameters()) variables.push_back(entry.value);
    for (const Tensor& v : variables) require_grad(v);
    const auto distance = [&] { return lpips(a, b); };
    const Numbers plain = numbers(false, distance, variables), again = numbers(true, distance, variables);
    ASSERT_EQ(plain.size(), again.size());
    for (std::size_t i = 0; i < plain.size(); ++i) {  // two runs over one backbone: sums associate otherwise
      ASSERT_EQ(plain[i].size(), again[i].size());
      float largest = 0;
      for (const float x : plain[i]) largest = std::max(largest, std::abs(x));
      for (std::size_t j = 0; j < plain[i].size(); ++j)
        EXPECT_LE(std::abs(plain[i][j] - again[i][j]), 1e-5F * largest) << i << ' ' << j;
    }
  }
}

}  // namespace
}  // namespace om
