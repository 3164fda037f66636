#include "models/encoder.h"

#include <algorithm>
#include <cmath>

#include "autograd/fused.h"
#include "autograd/ops.h"
#include "models/stylegan1.h"
#include "nn/recompute.h"

namespace om {

EncoderConfig EncoderConfig::from_shapes(const FileShapes& shapes, Projection projection) {
  const std::string model = "encoder";
  EncoderConfig config;
  config.projection = projection;
  for (int i = 0; shapes.contains(text("intermediate_resnet_blocks.", i, ".conv1.weight")); ++i)
    config.channels.push_back(
        require_shape(shapes, model, text("intermediate_resnet_blocks.", i, ".conv1.weight"), 4)[0]);
  if (config.channels.size() < 2 || config.channels.size() > 9)
    fail<InputError>(model, ": expects intermediate_resnet_blocks for sizes from 8 to 1024, got ",
                     config.channels.size());
  config.latent_heads = shapes.contains("to_latent.0.weight");
  config.noise_heads = shapes.contains("to_noise.0.weight");
  config.intermediate_noise = shapes.contains("intermediate_to_noise.0.weight");
  if (!config.latent_heads && !config.noise_heads)
    fail<InputError>(model, ": has neither to_latent nor to_noise");
  config.latent_width = config.latent_heads ? require_shape(shapes, model, "to_latent.0.weight", 4)[0] : 0;
  return config;
}

std::int64_t EncoderConfig::noise_maps() const {
  if (!noise_heads) return 0;
  const auto sizes = static_cast<std::int64_t>(channels.size());
  return intermediate_noise ? 2 * sizes - 1 : sizes;
}

EncoderConfig EncoderConfig::for_decoder(const Decoder& decoder, Projection projection, double width,
                                         Heads heads, ChannelMap map) {
  EncoderConfig config;
  config.projection = projection;
  config.latent_heads = heads != Heads::noise;
  config.noise_heads = heads != Heads::latent;
  config.latent_width = projection == Projection::z ? decoder.z_width() : decoder.latent_width();
  const std::vector<std::int64_t> own = decoder.channels();
  const std::vector<std::int64_t> channels =
      map == ChannelMap::decoder ? own : StyleGan1Config::published_channels(decoder.size());
  for (auto it = channels.rbegin(); it != channels.rend(); ++it)
    config.channels.push_back(std::max<std::int64_t>(1, std::llround(width * static_cast<double>(*it))));
  config.intermediate_noise = decoder.noise_sizes().size() > own.size();
  return config;
}

ResnetBlock::ResnetBlock(const Placement& place, std::int64_t in, std::int64_t out, std::int64_t stride,
                         bool project)
    : conv1_(place, {in, out, 3, stride, 1}, false),
      conv2_(place, {out, out, 3, 1, 1}, false),
      bn1_(place, out),
      bn2_(place, out) {
  child("conv1", conv1_);
  child("bn1", bn1_);
  child("conv2", conv2_);
  child("bn2", bn2_);
  const auto folded = [](const Conv& conv, const BatchNorm& norm) {
    return std::make_unique<FoldedConv>(conv.weight(), conv.bias(), conv.options(), norm);
  };
  first_ = folded(conv1_, bn1_);
  second_ = folded(conv2_, bn2_);
  if (!project) return;
  shortcut_ = std::make_unique<Conv>(place, ConvShape{in, out, 1, stride, 0}, true);
  shortcut_bn_ = std::make_unique<BatchNorm>(place, out);
  child("downsample.0", *shortcut_);
  child("downsample.1", *shortcut_bn_);
  projection_ = folded(*shortcut_, *shortcut_bn_);
}

Tensor ResnetBlock::operator()(const Tensor& image) const {
  return recompute({this}, {image}, [this](const std::vector<Tensor>& in) {
    const Tensor& x = in[0];
    const Tensor inner = (*first_)(x, {.slope = 0});
    if (!projection_) return (*second_)(inner, {.slope = 0, .residual = x});
    if (!projection_->folds() || !second_->folds())
      return (*second_)(inner, {.slope = 0, .residual = (*projection_)(x, {})});
    const Tensor bias = both_biases_({second_->bias(), projection_->bias()},
                                     [&] { return second_->bias() + projection_->bias(); });
    const Tensor shortcut = conv2d(x, projection_->weight(), projection_->options());
    return conv2d_activation(inner, second_->weight(), second_->options(),
                             {.bias = bias, .residual = shortcut, .slope = 0});
  });
}

Encoder::Encoder(const EncoderConfig& config, const Placement& place)
    : config_(config),
      start_(place, 3, config.channels[0], 1, true),
      unused_(place, config.channels[0], config.channels[0], 1, false) {
  child("start_block", start_);
  child("intermediate_block", unused_);
  child("resnet_blocks.0", start_);
  const std::vector<std::int64_t>& c = config.channels;
  for (std::size_t i = 1; i < c.size(); ++i) {
    blocks_.push_back(std::make_unique<ResnetBlock>(place, c[i - 1], c[i], 2, true));
    child(text("resnet_blocks.", i), *blocks_.back());
  }
  for (std::size_t i = 0; i < c.size(); ++i) {
    intermediate_blocks_.push_back(std::make_unique<ResnetBlock>(place, c[i], c[i], 1, false));
    child(text("intermediate_resnet_blocks.", i), *intermediate_blocks_.back());
  }
  heads(place, "", config.noise_heads, to_latent_, to_noise_);
  heads(place, "intermediate_", config.noise_heads && config.intermediate_noise, intermediate_to_latent_,
        intermediate_to_noise_);
}

void Encoder::heads(const Placement& place, const std::string& prefix, bool noise, List<Conv>& latent_heads,
                    List<Conv>& noise_heads) {
  const auto add = [&](List<Conv>& list, const char* name, std::int64_t out) {
    for (const std::int64_t channels : config_.channels) {
      list.push_back(std::make_unique<Conv>(place, ConvShape{channels, out, 1, 1, 0}, true));
      child(text(prefix, name, list.size() - 1), *list.back());
    }
  };
  if (config_.latent_heads) add(latent_heads, "to_latent.", config_.latent_width);
  if (noise) add(noise_heads, "to_noise.", 1);
}

Code Encoder::operator()(const Tensor& image) const {
  if (image.rank() != 4 || image.size(1) != config_.size() || image.size(2) != config_.size() ||
      image.size(3) != 3)
    fail("encoder: expects images [N, ", config_.size(), ", ", config_.size(), ", 3], got ", image.shape());
  std::vector<Tensor> pieces;
  Code code;
  const auto predict = [&](const Tensor& x, const List<Conv>& latent, const List<Conv>& noise,
                           std::size_t i) {
    if (!latent.empty()) {
      const PrecisionScope scope(coefficient_precision());
      const Tensor piece = (*latent[i])(mean(x, {1, 2}));  // [N, 1, 1, D]
      pieces.push_back(reshape(piece, {piece.size(0), 1, piece.size(3)}));
    }
    if (!noise.empty()) code.noise.push_back((*noise[i])(x, 1, Sums::f32));
  };
  static const List<Conv> kNone;
  Tensor x = image;
  for (std::size_t i = 0; i < config_.channels.size(); ++i) {
    const bool last = i + 1 == config_.channels.size();
    x = i == 0 ? start_(x) : (*blocks_[i - 1])(x);
    predict(x, to_latent_, to_noise_, i);
    x = (*intermediate_blocks_[i])(x);
    predict(x, intermediate_to_latent_, last ? kNone : intermediate_to_noise_, i);
  }
  std::reverse(code.noise.begin(), code.noise.end());
  std::reverse(pieces.begin(), pieces.end());
  if (!pieces.empty()) {
    code.latent = concat(pieces, 1);
    if (config_.projection == Projection::z)
      code.latent = reshape(sum(code.latent, {1}), {code.latent.size(0), code.latent.size(2)});
  }
  return code;
}

}  // namespace om
