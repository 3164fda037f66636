// What is stored in which dtype under PrecisionScope(bf16): images between the layers bf16; latents, noise,
// RGB, coefficients, statistics, losses, parameters and their gradients float32. And how far the result is
// from fp32's.
#include <gtest/gtest.h>

#include <cmath>
#include <iostream>
#include <unordered_set>

#include "autograd/grad.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "models/autoencoder.h"
#include "models/lpips.h"
#include "models/stylegan1.h"
#include "models/stylegan2.h"
#include "nn/initial.h"
#include "nn/losses.h"
#include "tensor/registry.h"

namespace om {
namespace {

StyleGan2Config stylegan2() {
  StyleGan2Config config;
  config.z_width = 16;
  config.latent_width = 16;
  config.mapping_layers = 2;
  config.constant_channels = 16;
  config.channels = {16, 16, 12, 8};
  config.stored_noise = false;
  return config;
}

StyleGan1Config stylegan1() {
  StyleGan1Config config;
  config.z_width = 16;
  config.latent_width = 16;
  config.mapping_layers = 2;
  config.constant_channels = 16;
  config.channels = {16, 16, 12, 8};
  config.fused = {false, false, false, true};
  return config;
}

/// A trained encoder's place in training: batch statistics, its parameters trainable, the decoder frozen.
std::unique_ptr<Autoencoder> autoencoder(std::unique_ptr<Decoder> decoder, Projection projection) {
  Backend& cpu = backend("cpu");
  RandomSource random(5, cpu);
  randomize(*decoder, random);
  auto encoder =
      std::make_unique<Encoder>(EncoderConfig::for_decoder(*decoder, projection, 1), Placement{cpu});
  initialize(*encoder, random);
  encoder->set_training(true);
  encoder->set_trainable(true);
  decoder->set_trainable(false);
  return std::make_unique<Autoencoder>(std::move(encoder), std::move(decoder));
}

std::vector<const Node*> graph_of(const Tensor& y) {
  std::unordered_set<const Node*> seen;
  std::vector<const Node*> found;
  const auto visit = [&](const Node* node) {
    if (node != nullptr && seen.insert(node).second) found.push_back(node);
  };
  visit(y.node().get());
  for (std::size_t i = 0; i < found.size(); ++i)
    for (const auto& input : found[i]->inputs) visit(input.get());
  return found;
}

/// Whether a shape is that of an image between layers: more than the constant's pixels, and more channels
/// than RGB or noise.
bool is_plane(const Shape& s) { return s.rank() == 4 && s[1] * s[2] > 16 && s[3] > 3; }

struct Outcome {
  std::vector<double> image;
  double loss = 0;
  std::vector<double> gradient;  // of all parameters in a row
};

double relative(const std::vector<double>& x, const std::vector<double>& reference) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    difference += (x[i] - reference[i]) * (x[i] - reference[i]);
    norm += reference[i] * reference[i];
  }
  return std::sqrt(difference / norm);
}

std::vector<double> numbers(const Tensor& x) { return cast(x.detach(), DType::f64).to_host<double>(); }

Outcome run(const Autoencoder& model, const Tensor& images, Precision precision) {
  const PrecisionScope scope(precision);
  const Code code = model.encode(images);
  EXPECT_EQ(code.latent.dtype(), DType::f32);
  for (const Tensor& map : code.noise) EXPECT_EQ(map.dtype(), DType::f32);
  const Tensor output = model.decode(code);
  EXPECT_EQ(output.dtype(), DType::f32);
  const Tensor loss = sum_of_mse(output, images);
  EXPECT_EQ(loss.dtype(), DType::f32);

  int planes = 0, float_planes = 0, convolutions = 0, float_convolutions = 0;
  for (const Node* node : graph_of(loss)) {
    if (is_plane(node->shape)) ++planes, float_planes += node->dtype == DType::f32;
    const std::string op = node->op;
    if (op != "conv2d" && op != "conv2d_input_grad") continue;
    const Node* in = node->inputs[0].get();
    if (in == nullptr || !is_plane(in->shape)) continue;
    ++convolutions, float_convolutions += in->dtype == DType::f32;
  }
  EXPECT_GT(planes, 30);
  EXPECT_GT(convolutions, 15);
  EXPECT_EQ(float_planes, precision == Precision::bf16 ? 0 : planes);
  EXPECT_EQ(float_convolutions, precision == Precision::bf16 ? 0 : convolutions);

  Outcome outcome{numbers(output), loss.item(), {}};
  std::vector<Tensor> parameters;
  for (const Entry& entry : model.encoder().parameters()) parameters.push_back(entry.value);
  for (const Tensor& g : grad({loss}, parameters, {.allow_unused = true})) {
    if (!g.defined()) continue;
    EXPECT_EQ(g.dtype(), DType::f32);
    for (const double value : numbers(g)) outcome.gradient.push_back(value);
  }
  return outcome;
}

void check(const Autoencoder& model, const char* what) {
  Backend& cpu = backend("cpu");
  RandomSource random(6, cpu);
  const Tensor images = random.uniform({4, 32, 32, 3}) * 2.0 - 1.0;
  const Outcome full = run(model, images, Precision::fp32), half = run(model, images, Precision::bf16);
  ASSERT_EQ(full.gradient.size(), half.gradient.size());
  const double image = relative(half.image, full.image), gradient = relative(half.gradient, full.gradient);
  std::cout << "  " << what << ", bf16 beside fp32: image " << image << ", gradient " << gradient << ", loss "
            << half.loss / full.loss - 1 << '\n';
  EXPECT_GT(image, 1e-5);  // bf16 ran
  EXPECT_LE(image, 0.03);
  EXPECT_LE(gradient, 0.3);  // relus near their kink turn: of 25 layers with random weights, a few percent
  EXPECT_LE(std::abs(half.loss / full.loss - 1), 0.03);
}

TEST(NetworkPrecision, StyleGan2Autoencoder) {
  const Placement place{backend("cpu")};
  check(*autoencoder(std::make_unique<StyleGan2>(stylegan2(), place), Projection::wplus), "StyleGAN 2, W+");
  check(*autoencoder(std::make_unique<StyleGan2>(stylegan2(), place), Projection::z), "StyleGAN 2, Z");
}

TEST(NetworkPrecision, StyleGan1Autoencoder) {
  const Placement place{backend("cpu")};
  check(*autoencoder(std::make_unique<StyleGan1>(stylegan1(), place), Projection::wplus), "StyleGAN 1, W+");
}

}  // namespace
}  // namespace om
