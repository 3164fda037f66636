#include "models/stylegan1.h"

#include <algorithm>

#include "autograd/ops.h"
#include "nn/linear.h"
#include "nn/recompute.h"
#include "nn/resample.h"

namespace om {
namespace {

constexpr const char* kModel = "StyleGAN 1";
constexpr double kSlope = 0.2;

std::string block_name(std::size_t i) { return text("generator.progression.", i); }

/// The blocks that a file holds.
std::size_t blocks_in(const FileShapes& shapes) {
  std::size_t count = 0;
  while (shapes.contains(block_name(count) + ".conv2.conv.weight_orig")) ++count;
  return count;
}

std::int64_t size_of_block(std::size_t i) { return std::int64_t{4} << i; }

}  // namespace

StyleGan1Config StyleGan1Config::from_shapes(const FileShapes& shapes, std::int64_t size) {
  StyleGan1Config config;
  const Shape first = require_shape(shapes, kModel, "style.1.linear.weight_orig", 2);
  config.z_width = first[1];
  config.latent_width = first[0];
  config.mapping_layers = 0;
  while (shapes.contains(text("style.", 2 * config.mapping_layers + 1, ".linear.weight_orig")))
    ++config.mapping_layers;
  config.constant_channels = require_shape(shapes, kModel, StyleGan1::kMark, 4)[1];

  const std::size_t there = blocks_in(shapes);
  if (there < 2 || there > 9)
    fail<InputError>(kModel, ": expects a size from 8 to 1024, the weights make ", there, " blocks");
  std::size_t used = there;
  if (size != 0) {
    used = 2;
    while (used < there && size_of_block(used - 1) < size) ++used;
    if (size_of_block(used - 1) != size)
      fail<InputError>(kModel, ": has no block of ", size, " pixels, only 8 to ", size_of_block(there - 1));
  }
  for (std::size_t i = 0; i < used; ++i) {
    config.channels.push_back(require_shape(shapes, kModel, block_name(i) + ".conv2.conv.weight_orig", 4)[0]);
    config.fused.push_back(shapes.contains(block_name(i) + ".conv1.0.weight"));
  }
  return config;
}

std::vector<std::int64_t> StyleGan1Config::published_channels(std::int64_t size) {
  std::vector<std::int64_t> channels;
  for (std::int64_t side = 4; side <= size; side *= 2) channels.push_back(side <= 32 ? 512 : 16384 / side);
  return channels;
}

std::vector<std::int64_t> StyleGan1Config::unused_sizes(const FileShapes& shapes) const {
  std::vector<std::int64_t> sizes;
  for (std::size_t i = channels.size(); i < blocks_in(shapes); ++i) sizes.push_back(size_of_block(i));
  return sizes;
}

std::int64_t trained_size(const FileShapes& shapes,
                          const std::function<bool(const std::string& name)>& is_zero) {
  const std::size_t there = blocks_in(shapes);
  for (std::size_t i = there; i > 2; --i)
    if (!is_zero(block_name(i - 1) + ".noise1.weight_orig") ||
        !is_zero(block_name(i - 1) + ".noise2.weight_orig"))
      return size_of_block(i - 1);
  return there > 0 ? size_of_block(there - 1) : 0;
}

/// One size of the synthesis network.
class StyleGan1::Block : public Module {
 public:
  Block(const StyleGan1Config& config, std::size_t i, const Placement& place)
      : noise1_(place, config.channels[i]),
        noise2_(place, config.channels[i]),
        adain1_(place, config.channels[i], config.latent_width),
        adain2_(place, config.channels[i], config.latent_width),
        conv2_(place, {config.channels[i], config.channels[i], 3, 1, 1}) {
    const std::int64_t out = config.channels[i];
    if (i == 0) {
      constant_ = parameter("conv1.input", place.zeros({1, 4, 4, out}), layouts::image);
    } else {
      filter_ = fir_filter({1, 2, 1}, 1, place.dtype, place.backend);
      nearest_ = fir_filter({1, 1}, 4, place.dtype, place.backend);
      const std::int64_t in = config.channels[i - 1];
      if (config.fused[i]) {
        fused_ = std::make_unique<FusedUpsample>(place, in, out);
        child("conv1.0", *fused_);
      } else {
        conv1_ = std::make_unique<HeConv>(place, ConvShape{in, out, 3, 1, 1});
        child("conv1.1.conv", *conv1_);
      }
      // the filter once per channel, in both orientations: files hold it, nothing here reads it
      const Tensor kept = broadcast(reshape(filter_, {1, 3, 3, 1}), {out, 3, 3, 1});
      const std::string name = config.fused[i] ? "conv1.1." : "conv1.2.";
      buffer(name + "weight", kept, layouts::conv);
      buffer(name + "weight_flip", broadcast(reshape(filter_, {1, 3, 3, 1}), {out, 3, 3, 1}), layouts::conv);
    }
    child("noise1", noise1_);
    child("adain1", adain1_);
    child("conv2.conv", conv2_);
    child("noise2", noise2_);
    child("adain2", adain2_);
  }

  /// x: the block before's output; of the first block undefined.
  Tensor operator()(const Tensor& x, const Tensor& w1, const Tensor& w2, const Tensor& noise) const {
    Tensor y = x;
    if (constant_.defined()) {
      y = broadcast(constant_, {w1.size(0), 4, 4, constant_.size(3)});
    } else {
      y = blur(fused_ ? (*fused_)(y) : (*conv1_)(upsample2(y, nearest_)), filter_, 1, 1);
    }
    y = adain1_(leaky_relu(noise1_(y, noise), kSlope), w1);
    return adain2_(leaky_relu(noise2_(conv2_(y), noise), kSlope), w2);
  }

 private:
  ChannelNoise noise1_, noise2_;
  AdaIn adain1_, adain2_;
  HeConv conv2_;
  Tensor constant_, filter_, nearest_;
  std::unique_ptr<FusedUpsample> fused_;
  std::unique_ptr<HeConv> conv1_;
};

StyleGan1::StyleGan1(const StyleGan1Config& config, const Placement& place) : config_(config) {
  if (config.constant_channels != config.channels[0])
    fail<InputError>(kModel, ": the constant has ", config.constant_channels, " channels, its block ",
                     config.channels[0]);
  for (int i = 0; i < config.mapping_layers; ++i) {
    const std::int64_t in = i == 0 ? config.z_width : config.latent_width;
    mapping_.push_back(std::make_unique<HeLinear>(place, in, config.latent_width));
    child(text("style.", 2 * i + 1, ".linear"), *mapping_.back());
  }
  for (std::size_t i = 0; i < config.channels.size(); ++i) {
    blocks_.push_back(std::make_unique<Block>(config, i, place));
    child(block_name(i), *blocks_.back());
  }
  to_rgb_ = std::make_unique<HeConv>(place, ConvShape{config.channels.back(), 3, 1, 1, 0});
  child(text("generator.to_rgb.", config.channels.size() - 1, ".conv"), *to_rgb_);
}

StyleGan1::~StyleGan1() = default;

std::vector<std::int64_t> StyleGan1::noise_sizes() const {
  std::vector<std::int64_t> sizes;
  for (std::size_t i = 0; i < config_.channels.size(); ++i) sizes.push_back(size_of_block(i));
  return sizes;
}

Tensor StyleGan1::map(const Tensor& z) const {
  Tensor w = pixel_norm(z);
  for (const auto& layer : mapping_) w = leaky_relu((*layer)(w), kSlope);
  return w;
}

Tensor StyleGan1::synthesize(const Tensor& wplus, const std::vector<Tensor>& noise) const {
  expect_inputs(kModel, wplus, noise);
  Tensor x;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const auto layer = static_cast<std::int64_t>(2 * i);
    const Block& block = *blocks_[i];
    x = recompute({&block}, {x, latent_layer(wplus, layer), latent_layer(wplus, layer + 1), noise[i]},
                  [&block](const std::vector<Tensor>& in) { return block(in[0], in[1], in[2], in[3]); });
  }
  return (*to_rgb_)(x, Sums::f32);
}

}  // namespace om
