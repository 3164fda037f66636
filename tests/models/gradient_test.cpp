// Gradients of whole networks, narrow and in double, by directional derivatives: for L = <r, f(theta)> with a
// random r formed on the host and a random direction d, <grad L, d> must be the slope of L along d; for the
// second order, <grad <grad L, d>, e> the slope of <grad L, d> along e. A draw whose difference quotient
// straddles a kink of a relu is drawn again.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <iostream>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "models/autoencoder.h"
#include "models/lpips.h"
#include "models/stylegan1.h"
#include "models/stylegan2.h"
#include "nn/initial.h"
#include "tensor/registry.h"

namespace om {
namespace {

constexpr int kDraws = 8;

/// A function of `variables`, which it reads where they are: perturbed in place.
struct Problem {
  std::vector<Tensor> variables;
  std::function<Tensor()> function;
};

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double total = 0;
  for (std::size_t i = 0; i < a.size(); ++i) total += a[i] * b[i];
  return total;
}

/// One direction over all variables, scaled to the size of each.
std::vector<Tensor> direction(const Problem& p, RandomSource& random) {
  std::vector<Tensor> d;
  for (const Tensor& v : p.variables) d.push_back(random.normal(v.shape(), DType::f64));
  return d;
}

void move(const Problem& p, const std::vector<Tensor>& d, double step) {
  const NoGrad no_grad;
  for (std::size_t i = 0; i < d.size(); ++i) p.variables[i].assign(p.variables[i].detach() + d[i] * step);
}

double dot(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  double total = 0;
  for (std::size_t i = 0; i < a.size(); ++i) total += dot(a[i].to_host<double>(), b[i].to_host<double>());
  return total;
}

/// Relative error of `slope` against the central difference of `value` along d.
double slope_error(const Problem& p, const std::vector<Tensor>& d, double slope,
                   const std::function<double()>& value) {
  constexpr double kStep = 1e-6;
  move(p, d, kStep);
  const double above = value();
  move(p, d, -2 * kStep);
  const double below = value();
  move(p, d, kStep);
  return std::abs((above - below) / (2 * kStep) - slope) / std::max(1e-8, std::abs(slope));
}

void check(const Problem& p, const char* what) {
  Backend& cpu = p.variables[0].backend();
  RandomSource random(7, cpu);
  for (const Tensor& v : p.variables) require_grad(v);
  double first = INFINITY, second = INFINITY;
  for (int draw = 0; draw < kDraws && (first > 1e-6 || second > 1e-5); ++draw) {
    const std::vector<Tensor> d = direction(p, random), e = direction(p, random);
    const Tensor y = p.function();
    const Tensor r = random.normal(y.shape(), DType::f64);
    const std::vector<double> weights = r.to_host<double>();
    const std::vector<Tensor> gradients =
        grad({y}, p.variables, {.output_gradients = {r}, .create_graph = true});

    std::vector<Tensor> connected;  // gradients that depend on the variables themselves
    for (const Tensor& g : gradients)
      if (g.requires_grad()) connected.push_back(g);
    ASSERT_FALSE(connected.empty());
    std::vector<Tensor> seeds;
    for (std::size_t i = 0; i < gradients.size(); ++i)
      if (gradients[i].requires_grad()) seeds.push_back(d[i]);
    const std::vector<Tensor> curved =
        grad(connected, p.variables, {.output_gradients = seeds, .allow_unused = true});
    double curvature = 0;
    for (std::size_t i = 0; i < curved.size(); ++i)
      if (curved[i].defined()) curvature += dot(curved[i].to_host<double>(), e[i].to_host<double>());

    // The variables move only now: what the graphs kept must not change under them.
    first =
        slope_error(p, d, dot(gradients, d), [&] { return dot(p.function().to_host<double>(), weights); });
    second = slope_error(p, e, curvature, [&] {
      const std::vector<Tensor> g = grad({p.function()}, p.variables, {.output_gradients = {r}});
      return dot(g, d);
    });
  }
  std::cout << "  " << what << ": first order " << first << ", second order " << second << '\n';
  EXPECT_LE(first, 1e-6) << what;
  EXPECT_LE(second, 1e-5) << what;
}

std::vector<Tensor> parameters_of(const Module& module) {
  std::vector<Tensor> values;
  for (const Entry& entry : module.parameters()) values.push_back(entry.value);
  return values;
}

StyleGan2Config narrow() {
  StyleGan2Config config;
  config.z_width = 6;
  config.latent_width = 5;
  config.mapping_layers = 2;
  config.constant_channels = 4;
  config.channels = {4, 6, 3};
  config.stored_noise = false;
  return config;
}

/// Mapping and synthesis by every parameter, z and the noise maps.
void check_generator(const Decoder& generator, const char* what) {
  RandomSource random(1, backend("cpu"));
  randomize(generator, random);
  Problem p{parameters_of(generator), {}};
  const Tensor z = random.normal({2, 6}, DType::f64);
  std::vector<Tensor> noise;
  for (const std::int64_t side : generator.noise_sizes())
    noise.push_back(random.normal({2, side, side, 1}, DType::f64));
  p.variables.push_back(z);
  p.variables.insert(p.variables.end(), noise.begin(), noise.end());
  p.function = [&] {
    return generator.synthesize(repeat_latent(generator.map(z), generator.latents()), noise);
  };
  check(p, what);
}

TEST(NetworkGradient, StyleGan2) {
  // the style's mapping has lr_mul 0.01: its weights are large in files
  check_generator(StyleGan2(narrow(), {backend("cpu"), DType::f64}), "StyleGAN 2, mapping and synthesis");
}

TEST(NetworkGradient, StyleGan1) {
  StyleGan1Config config;
  config.z_width = 6;
  config.latent_width = 5;
  config.mapping_layers = 2;
  config.constant_channels = 4;
  config.channels = {4, 6, 3};
  config.fused = {false, false, true};
  check_generator(StyleGan1(config, {backend("cpu"), DType::f64}),
                  "StyleGAN 1, mapping and synthesis, upsampling of both kinds");
}

TEST(NetworkGradient, EncoderInBothModes) {
  Backend& cpu = backend("cpu");
  for (const bool training : {false, true}) {
    RandomSource random(2, cpu);
    EncoderConfig config;
    config.latent_width = 5;
    config.channels = {3, 4, 5};
    Encoder encoder(config, {cpu, DType::f64});
    initialize(encoder, random);
    encoder.set_training(training);
    const Tensor image = random.normal({3, 16, 16, 3}, DType::f64);
    Problem p{{image}, {}};
    for (const Entry& entry : encoder.parameters()) {
      const bool unused =
          entry.name.starts_with("intermediate_block") || entry.name.starts_with("intermediate_to_noise.2");
      // a bias before a batch norm in train mode has gradient 0, which roundoff alone would be compared with
      const bool without = training && entry.name.find("downsample.0.bias") != std::string::npos;
      if (!unused && !without) p.variables.push_back(entry.value);
    }
    p.function = [&] {
      const Code code = encoder(image);
      std::vector<Tensor> flat = {reshape(code.latent, {code.latent.elements()})};
      for (const Tensor& map : code.noise) flat.push_back(reshape(map, {map.elements()}));
      return concat(flat, 0);
    };
    check(p, training ? "encoder, batch statistics" : "encoder, running statistics");
  }
}

/// The penalty of Mescheder et al. 2018 (R1), the sum over images of |dD/dx|^2, differentiated by D's
/// weights.
TEST(NetworkGradient, R1PenaltyOfASmallConvNet) {
  Backend& cpu = backend("cpu");
  RandomSource random(3, cpu);
  const Placement place{cpu, DType::f64};
  const Conv first(place, {3, 4, 3, 1, 1}, true), second(place, {4, 5, 3, 2, 1}, true),
      last(place, {5, 1, 3, 1, 0}, true);
  for (const Conv* conv : {&first, &second, &last}) randomize(*conv, random, 0.5);
  const Tensor image = require_grad(random.normal({2, 6, 6, 3}, DType::f64));
  Problem p;
  // the last bias shifts D, not its slope
  for (const Conv* conv : {&first, &second})
    for (const Tensor& v : parameters_of(*conv)) p.variables.push_back(v);
  p.variables.push_back(parameters_of(last)[0]);
  const auto discriminator = [&] {
    // tanh, so that the penalty's curvature does not vanish almost everywhere
    return sum(last(tanh(second(leaky_relu(first(image), 0.2)))));
  };
  p.function = [&] {
    const Tensor slope = grad({discriminator()}, {image}, {.create_graph = true})[0];
    return sum(square(slope));
  };
  check(p, "R1 penalty");
}

FileShapes narrow_backbone(const std::string& net) {
  FileShapes shapes;
  const auto conv = [&](const std::string& name, std::int64_t in, std::int64_t out, std::int64_t kernel) {
    shapes[name + ".weight"] = {out, in, kernel, kernel};
    shapes[name + ".bias"] = {out};
  };
  std::int64_t in = 3;
  if (net == "vgg") {
    for (const int i : {0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28}) {
      conv(text("features.", i), in, 4, 3);
      in = 4;
    }
  } else if (net == "alex") {
    for (const auto& [i, kernel] :
         std::vector<std::pair<int, int>>{{0, 11}, {3, 5}, {6, 3}, {8, 3}, {10, 3}}) {
      conv(text("features.", i), in, 4, kernel);
      in = 4;
    }
  } else {
    conv("features.0", 3, 4, 3);
    for (const int i : {3, 4, 6, 7, 9, 10, 11, 12}) {
      conv(text("features.", i, ".squeeze"), 4, 2, 1);
      conv(text("features.", i, ".expand1x1"), 2, 2, 1);
      conv(text("features.", i, ".expand3x3"), 2, 2, 3);
    }
  }
  return shapes;
}

std::unique_ptr<Lpips> narrow_lpips(const std::string& net, RandomSource& random) {
  FileShapes heads;
  for (int i = 0; i < (net == "squeeze" ? 7 : 5); ++i)
    heads[text("lin", i, ".model.1.weight")] = {1, 4, 1, 1};
  auto lpips = std::make_unique<Lpips>(narrow_backbone(net), heads, Placement{backend("cpu"), DType::f64});
  randomize(*lpips, random, 0.5);
  return lpips;
}

class LpipsGradient : public testing::TestWithParam<const char*> {};

TEST_P(LpipsGradient, OfBothImages) {
  RandomSource random(4, backend("cpu"));
  const auto lpips = narrow_lpips(GetParam(), random);
  const Tensor a = random.normal({2, 48, 48, 3}, DType::f64), b = random.normal({2, 48, 48, 3}, DType::f64);
  check({{a, b}, [&] { return (*lpips)(a, b); }}, GetParam());
}

TEST_P(LpipsGradient, OfIdenticalImagesIsZero) {
  RandomSource random(5, backend("cpu"));
  const auto lpips = narrow_lpips(GetParam(), random);
  const Tensor a = require_grad(random.normal({1, 48, 48, 3}, DType::f64));
  for (const double value : grad({sum((*lpips)(a, a.detach()))}, {a})[0].to_host<double>())
    ASSERT_EQ(value, 0);
}

TEST_P(LpipsGradient, IsFiniteWhereEveryFeatureIsZero) {
  RandomSource random(6, backend("cpu"));
  const auto lpips = narrow_lpips(GetParam(), random);
  for (const Entry& entry : lpips->backbone().entries()) entry.value.fill(entry.value.rank() == 1 ? -1 : 0);
  const Tensor a = require_grad(random.normal({1, 48, 48, 3}, DType::f64)),
               b = random.normal({1, 48, 48, 3}, DType::f64);
  const Tensor distance = sum((*lpips)(a, b));
  EXPECT_EQ(distance.item(), 0);
  for (const double value : grad({distance}, {a})[0].to_host<double>()) ASSERT_EQ(value, 0);
}

INSTANTIATE_TEST_SUITE_P(Nets, LpipsGradient, testing::Values("vgg", "alex", "squeeze"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace om
