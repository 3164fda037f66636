// Golden cases of whole models in evaluation: the StyleGAN 2 generator, the encoder, LPIPS.
#include <cmath>
#include <iostream>
#include <sstream>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "tests/golden/golden_case.h"
#include "tests/golden/hash.h"

namespace om::golden {
namespace {

constexpr double kTolerance = 1e-4;

/// Shapes of torchvision's backbones, which the golden files do not hold.
FileShapes torchvision_shapes(const std::string& net) {
  FileShapes shapes;
  const auto conv = [&](const std::string& name, std::int64_t in, std::int64_t out, std::int64_t kernel) {
    shapes[name + ".weight"] = {out, in, kernel, kernel};
    shapes[name + ".bias"] = {out};
  };
  if (net == "vgg") {
    const std::vector<std::pair<int, std::pair<int, int>>> layers = {
        {0, {3, 64}},     {2, {64, 64}},    {5, {64, 128}},   {7, {128, 128}},  {10, {128, 256}},
        {12, {256, 256}}, {14, {256, 256}}, {17, {256, 512}}, {19, {512, 512}}, {21, {512, 512}},
        {24, {512, 512}}, {26, {512, 512}}, {28, {512, 512}}};
    for (const auto& [i, c] : layers) conv(text("features.", i), c.first, c.second, 3);
  } else if (net == "alex") {
    conv("features.0", 3, 64, 11);
    conv("features.3", 64, 192, 5);
    conv("features.6", 192, 384, 3);
    conv("features.8", 384, 256, 3);
    conv("features.10", 256, 256, 3);
  } else {
    conv("features.0", 3, 64, 3);
    const std::vector<std::pair<int, std::array<int, 3>>> fires = {
        {3, {64, 16, 64}},   {4, {128, 16, 64}},   {6, {128, 32, 128}},  {7, {256, 32, 128}},
        {9, {256, 48, 192}}, {10, {384, 48, 192}}, {11, {384, 64, 256}}, {12, {512, 64, 256}}};
    for (const auto& [i, c] : fires) {
      conv(text("features.", i, ".squeeze"), c[0], c[1], 1);
      conv(text("features.", i, ".expand1x1"), c[1], c[2], 1);
      conv(text("features.", i, ".expand3x3"), c[1], c[2], 3);
    }
  }
  return shapes;
}

}  // namespace

void run_stylegan2(const Case& c, Backend& backend) {
  const auto decoder = load_generator(c.checkpoint(), backend);
  const NoGrad no_grad;
  const Tensor w = decoder->map(c.tensor("z", backend));
  expect_close(c, "w", w, kTolerance);
  expect_close(c, "image_from_z",
               decoder->synthesize(repeat_latent(w, decoder->latents()), decoder->stored_noise()),
               kTolerance);
  expect_close(c, "image_from_wplus",
               decoder->synthesize(c.tensor("wplus", backend), c.list("noise", backend)), kTolerance);
}

void run_pickled_generator(const Case& c, Backend& backend) {
  const auto decoder = load_generator(c.checkpoint(), backend);
  const NoGrad no_grad;
  const auto draw = [&](const Tensor& w) {
    return decoder->synthesize(w.rank() == 2 ? repeat_latent(w, decoder->latents()) : w,
                               decoder->stored_noise());
  };
  const Tensor w = decoder->map(c.tensor("z", backend));
  expect_close(c, "w", w, kTolerance);
  expect_close(c, "image_from_z", draw(w), kTolerance);
  expect_close(c, "image_from_wplus_stored_noise", draw(c.tensor("wplus", backend)), kTolerance);
  expect_close(c, "image_from_z_truncation_0.6", draw(truncate(w, decoder->latent_average(), 0.6)),
               kTolerance);
}

void run_stylegan1(const Case& c, Backend& backend) {
  LoadOptions options;
  options.size = std::stoll(c.metadata("size"));
  const auto generator = load_generator(c.checkpoint(), backend, options);
  const Decoder& decoder = *generator;
  const NoGrad no_grad;
  const Tensor w = decoder.map(c.tensor("z", backend));
  expect_close(c, "w", w, kTolerance);
  expect_close(c, "image_from_z",
               decoder.synthesize(repeat_latent(w, decoder.latents()), c.list("noise_z", backend)),
               kTolerance);
  expect_close(c, "image_from_wplus",
               decoder.synthesize(c.tensor("wplus", backend), c.list("noise_wplus", backend)), kTolerance);
}

void run_encoder(const Case& c, Backend& backend) {
  const Projection projection = c.metadata("model") == "WPlusEncoder" ? Projection::wplus : Projection::z;
  const NoGrad no_grad;
  for (const bool training : {false, true}) {
    const Model model = load_model(read_checkpoint(c.checkpoint()), backend, projection);
    ASSERT_TRUE(model.encoder) << "no encoder in " << c.checkpoint();
    model.encoder->set_training(training);
    const Code code = (*model.encoder)(c.tensor("image", backend));
    const std::string mode = training ? "train." : "eval.";
    EXPECT_EQ(c.has(mode + "latent"), code.latent.defined());
    if (c.has(mode + "latent") && code.latent.defined())
      expect_close(c, mode + "latent", code.latent, kTolerance);
    for (std::size_t i = 0; i < code.noise.size(); ++i)
      expect_close(c, text(mode, "noise.", i), code.noise[i], kTolerance);
    EXPECT_EQ(c.list(mode + "noise", backend).size(), code.noise.size());
  }
}

void run_lpips(const Case& c, Backend& backend) {
  const FileShapes shapes = torchvision_shapes(c.metadata("net"));
  const Checkpoint heads = read_checkpoint(c.checkpoint());
  FileShapes head_shapes;
  for (const auto& [name, tensor] : heads.tensors) head_shapes[name] = Shape{std::span(tensor.shape)};
  Lpips lpips(shapes, head_shapes, {backend});
  fill(lpips.heads(), heads);
  for (const Entry& entry : lpips.backbone().entries()) {
    const Shape& shape = shapes.at(entry.name);
    entry.value.assign(
        entry.layout.from_file(Tensor::from_host(hash_weight(entry.name, shape), shape, backend)));
  }

  // The images' names are the quoted strings of the metadata.
  std::vector<std::string> names;
  std::stringstream quoted(c.metadata("images"));
  for (std::string outside, name; std::getline(quoted, outside, '\'') && std::getline(quoted, name, '\'');)
    names.push_back(name);
  ASSERT_EQ(names.size(), 2U);
  const std::int64_t batch = std::stoll(c.metadata("batch")), size = std::stoll(c.metadata("size"));
  const Shape shape{batch, 3, size, size};
  const auto image = [&](const std::string& name) {
    return layouts::image.from_file(Tensor::from_host(hash_uniform(name, shape.elements()), shape, backend));
  };
  const Tensor a = require_grad(image(names[0])), b = image(names[1]);
  expect_close(c, "per_layer", lpips.per_layer(a, b).detach(), kTolerance);
  const Tensor distance = lpips(a, b);
  expect_close(c, "distance", distance.detach(), kTolerance);

  const std::vector<float> gradient = in_file_order(grad({sum(distance)}, {a})[0]);
  const std::vector<float> reference = to_f32(c.file_tensor("grad_a"));
  ASSERT_EQ(gradient.size(), reference.size());
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    error += std::pow(static_cast<double>(gradient[i]) - static_cast<double>(reference[i]), 2);
    norm += std::pow(static_cast<double>(reference[i]), 2);
  }
  std::cout << "  grad_a: relative L2 error " << std::sqrt(error / norm) << '\n';
  EXPECT_LE(std::sqrt(error), 1e-4 * std::sqrt(norm));
}

}  // namespace om::golden
