#include "models/stylegan2.h"

#include "autograd/ops.h"
#include "nn/recompute.h"

namespace om {

StyleGan2Config StyleGan2Config::from_shapes(const FileShapes& shapes) {
  const std::string model = "StyleGAN 2";
  StyleGan2Config config;
  const Shape first = require_shape(shapes, model, "style.1.weight", 2);
  config.z_width = first[1];
  config.latent_width = first[0];
  config.mapping_layers = 0;
  while (shapes.contains(text("style.", config.mapping_layers + 1, ".weight"))) ++config.mapping_layers;
  config.constant_channels = require_shape(shapes, model, "input.input", 4)[1];
  config.channels = {require_shape(shapes, model, "conv1.conv.weight", 5)[1]};
  for (int i = 0; shapes.contains(text("convs.", i, ".conv.weight")); i += 2)
    config.channels.push_back(require_shape(shapes, model, text("convs.", i, ".conv.weight"), 5)[1]);
  if (config.channels.size() < 2 || config.channels.size() > 9)
    fail<InputError>(model, ": expects a size from 8 to 1024, the weights make ", config.size());
  config.stored_noise = shapes.contains("noises.noise_0");
  config.latent_average = shapes.contains("latent_avg");
  return config;
}

StyleGan2::StyleGan2(const StyleGan2Config& config, const Placement& place) : config_(config) {
  for (int i = 1; i <= config.mapping_layers; ++i) {
    const std::int64_t in = i == 1 ? config.z_width : config.latent_width;
    mapping_.push_back(std::make_unique<EqualLinear>(place, in, config.latent_width, 0.01, true));
    child(text("style.", i), *mapping_.back());
  }
  const std::int64_t style = config.latent_width;
  input_ = parameter("input.input", place.zeros({1, 4, 4, config.constant_channels}), layouts::image);
  conv1_ = std::make_unique<StyledConv>(
      place, ModulatedConv::Options{config.constant_channels, config.channels[0], 3, style},
      config.conv_clamp);
  child("conv1", *conv1_);
  to_rgb1_ = std::make_unique<ToRgb>(place, config.channels[0], style, false, config.conv_clamp);
  child("to_rgb1", *to_rgb1_);
  for (std::size_t i = 1; i < config.channels.size(); ++i) {
    const std::int64_t in = config.channels[i - 1], out = config.channels[i];
    using Kind = ModulatedConv::Kind;
    for (const auto& options : {ModulatedConv::Options{in, out, 3, style, Kind::up},
                                ModulatedConv::Options{out, out, 3, style, Kind::same}}) {
      convs_.push_back(std::make_unique<StyledConv>(place, options, config.conv_clamp));
      child(text("convs.", convs_.size() - 1), *convs_.back());
    }
    to_rgbs_.push_back(std::make_unique<ToRgb>(place, out, style, true, config.conv_clamp));
    child(text("to_rgbs.", to_rgbs_.size() - 1), *to_rgbs_.back());
  }
  if (config.stored_noise)
    for (const std::int64_t side : noise_sizes())
      noises_.push_back(
          buffer(text("noises.noise_", noises_.size()), place.zeros({1, side, side, 1}), layouts::image));
  if (config.latent_average) latent_average_ = buffer("latent_avg", place.zeros({style}));
}

std::vector<std::int64_t> StyleGan2::noise_sizes() const {
  std::vector<std::int64_t> sizes = {4};
  for (std::int64_t side = 8; side <= size(); side *= 2) sizes.insert(sizes.end(), 2, side);
  return sizes;
}

Tensor StyleGan2::map(const Tensor& z) const {
  Tensor w = pixel_norm(z);
  for (const auto& layer : mapping_) w = (*layer)(w);
  return w;
}

Tensor StyleGan2::synthesize(const Tensor& wplus, const std::vector<Tensor>& noise) const {
  expect_inputs("StyleGAN 2", wplus, noise);
  const auto w = [&](std::size_t i) { return latent_layer(wplus, static_cast<std::int64_t>(i)); };

  Tensor x = broadcast(input_, {wplus.size(0), 4, 4, config_.constant_channels});
  x = (*conv1_)(x, w(0), noise[0]);
  Tensor image = (*to_rgb1_)(x, w(1), {});
  for (std::size_t i = 0; i < to_rgbs_.size(); ++i) {
    // The upsampled image goes to the second convolution alone and is scaled for it as it is made. What
    // that one gives goes to the RGB image as well and stays plain.
    const StyledConv &up = *convs_[2 * i], &same = *convs_[2 * i + 1];
    const auto block = [&up, &same](const std::vector<Tensor>& in) {
      const Tensor first = up.style(in[1]), second = same.style(in[2]);
      const Tensor y = up.on_scaled(scaled(in[0], first), first, in[3], second);
      return same.on_scaled(y, second, in[4]);
    };
    x = recompute({&up, &same}, {x, w(2 * i + 1), w(2 * i + 2), noise[2 * i + 1], noise[2 * i + 2]}, block);
    image = (*to_rgbs_[i])(x, w(2 * i + 3), image);
  }
  return image;
}

}  // namespace om
