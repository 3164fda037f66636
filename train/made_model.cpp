#include "train/made_model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "autograd/ops.h"
#include "models/stylegan2.h"
#include "nn/initial.h"

namespace om {
namespace {

constexpr std::int64_t kVgg[] = {64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512};
constexpr int kVggLayers[] = {0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28};
constexpr std::int64_t kVggTaps[] = {64, 128, 256, 512, 512};

StyleGan2Config generator_shape(const MadeModel& shape) {
  if (shape.size < 8 || shape.size > 1024 || !std::has_single_bit(static_cast<std::uint64_t>(shape.size)))
    fail<UsageError>("the size must be a power of two from 8 to 1024, got ", shape.size);
  for (const double width : {shape.width, shape.encoder_width})
    if (!(width > 0 && width <= 4)) fail<UsageError>("a width must lie between 0 and 4, got ", width);
  const auto wide = [&](std::int64_t channels) {
    return std::max<std::int64_t>(1, std::llround(static_cast<double>(channels) * shape.width));
  };
  StyleGan2Config config;
  config.z_width = config.latent_width = wide(512);
  config.constant_channels = wide(512);
  for (std::int64_t side = 4; side <= shape.size; side *= 2)
    config.channels.push_back(wide(std::min<std::int64_t>(512, 2 * 16384 / side)));
  config.stored_noise = false;
  return config;
}

}  // namespace

std::unique_ptr<Autoencoder> make_autoencoder(const MadeModel& shape, RandomSource& random,
                                              Backend& backend) {
  auto decoder = std::make_unique<StyleGan2>(generator_shape(shape), Placement{backend});
  randomize(*decoder, random);
  return with_new_encoder(std::move(decoder), shape.encoder_width, random, backend);
}

std::unique_ptr<Autoencoder> with_new_encoder(std::unique_ptr<Decoder> decoder, double encoder_width,
                                              RandomSource& random, Backend& backend) {
  auto encoder = std::make_unique<Encoder>(
      EncoderConfig::for_decoder(*decoder, Projection::wplus, encoder_width), Placement{backend});
  initialize(*encoder, random);
  return std::make_unique<Autoencoder>(std::move(encoder), std::move(decoder));
}

std::unique_ptr<Lpips> make_lpips_vgg(RandomSource& random, Backend& backend) {
  FileShapes backbone, heads;
  std::int64_t in = 3;
  for (std::size_t i = 0; i < std::size(kVgg); ++i) {
    backbone[text("features.", kVggLayers[i], ".weight")] = {kVgg[i], in, 3, 3};
    backbone[text("features.", kVggLayers[i], ".bias")] = {kVgg[i]};
    in = kVgg[i];
  }
  for (std::size_t i = 0; i < std::size(kVggTaps); ++i)
    heads[text("lin", i, ".model.1.weight")] = {1, kVggTaps[i], 1, 1};
  auto lpips = std::make_unique<Lpips>(backbone, heads, Placement{backend});
  initialize(*lpips, random);
  for (const Entry& head : lpips->heads().entries())
    head.value.assign(abs(head.value));  // as trained ones are
  lpips->set_trainable(false);
  return lpips;
}

}  // namespace om
