#include "train/playground.h"

#include <algorithm>
#include <cstdlib>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "io/resize.h"
#include "train/analysis.h"
#include "train/config.h"
#include "train/samples.h"

namespace om {
namespace {

std::size_t bytes_of(const Playground::Picture& picture) {
  std::size_t bytes = picture.original.pixels.size() + picture.input.pixels.size();
  for (const Tensor& map : picture.code.noise) bytes += map.storage()->bytes();
  return bytes + picture.code.latent.storage()->bytes();
}

}  // namespace

Playground::Playground(Model model, Backend& backend, std::uint64_t first) : backend_(backend), next_(first) {
  if (!model.decoder) fail<InputError>("holds no generator");
  const auto settings = model.metadata.find("config");
  if (settings != model.metadata.end()) {
    TrainConfig config;
    try {
      apply_json(config, settings->second, "config");
    } catch (const Error&) {  // of another time: what it says is not known
    }
    if (config.task == "denoise") {
      denoises_ = config.denoise_settings();
      sigmas_ = config.sigmas;
    }
  }
  if (!model.encoder) {
    generator_ = std::move(model.decoder);
    return;
  }
  autoencoder_ = std::make_unique<Autoencoder>(std::move(model.encoder), std::move(model.decoder),
                                               std::move(model.noise_encoder));
  if (!autoencoder_->predicts_latent()) fail<InputError>("the encoder predicts no latents, only noise");
}

Code Playground::code_of(const Image& input) const {
  return wplus_code(*autoencoder_, to_tensor(input.pixels, 1, decoder().size(), backend_),
                    random_maps(decoder(), 0, 0, backend_));
}

void Playground::warm_up() const {
  const NoGrad no_grad;
  const auto side = static_cast<int>(decoder().size());
  Tensor w = decoder().map(sample_latents(decoder(), 0, 1, backend_));
  if (w.rank() == 2) w = repeat_latent(w, decoder().latents());
  const Code code = encodes() ? code_of(Image(side, side)) : Code{w, decoder().zero_noise(backend_)};
  maps_of(code);
  draw(code);
}

const Playground::Picture& Playground::add(Image picture) {
  const auto side = static_cast<int>(decoder().size());
  Picture added{next_++, std::move(picture), {}, {}};
  added.input = resize_bilinear(added.original, side, side);
  added.code = code_of(added.input);
  pictures_.push_back(std::move(added));
  std::size_t bytes = 0;
  for (const Picture& kept : pictures_) bytes += bytes_of(kept);
  while (pictures_.size() > 1 && (pictures_.size() > kPictures || bytes > kBytes)) {
    bytes -= bytes_of(pictures_.front());
    pictures_.pop_front();
  }
  return pictures_.back();
}

const Playground::Picture& Playground::picture(std::uint64_t id) const {
  const auto found = std::find_if(pictures_.begin(), pictures_.end(),
                                  [id](const Picture& picture) { return picture.id == id; });
  if (found == pictures_.end()) fail<PictureGone>("picture ", id, " is not kept any more");
  return *found;
}

Code Playground::changed(const Picture& picture, const NoiseChange& change) const {
  const NoGrad no_grad;
  Code code = picture.code;
  if (change.maps == NoiseMaps::random) code.noise = random_maps(decoder(), change.seed, 0, backend_);
  if (change.maps == NoiseMaps::zero) code.noise = decoder().zero_noise(backend_);
  if (change.factors.empty()) return code;
  if (change.factors.size() != code.noise.size())
    fail<UsageError>("factors: this generator has ", code.noise.size(), " noise maps, got ",
                     change.factors.size());
  for (std::size_t i = 0; i < code.noise.size(); ++i)
    if (change.factors[i] != 1) code = scaled_noise(code, static_cast<std::int64_t>(i), change.factors[i]);
  return code;
}

Code Playground::between(const Picture& left, const Picture& right, double latent, double noise) const {
  Code code = interpolate(left.code, right.code, noise, Interpolation::noise, {});
  code.latent = interpolate(left.code, right.code, latent, Interpolation::both, {}).latent;
  return code;
}

Code Playground::sample(std::uint64_t seed, SampleNoise noise, std::optional<double> truncation) {
  const NoGrad no_grad;
  Tensor w = decoder().map(sample_latents(decoder(), seed, 1, backend_));
  if (truncation) {
    if (!average_.defined()) average_ = truncation_average(decoder(), backend_);
    w = truncate(w, average_, *truncation);
  }
  Code code{w.rank() == 2 ? repeat_latent(w, decoder().latents()) : w, {}};
  if (noise == SampleNoise::stored && decoder().stored_noise().empty()) noise = SampleNoise::random;
  if (noise == SampleNoise::stored) code.noise = decoder().stored_noise();
  if (noise == SampleNoise::zero) code.noise = decoder().zero_noise(backend_);
  if (noise == SampleNoise::random) {
    RandomSource random = sample_noise(seed, backend_);
    code.noise = decoder().random_noise(1, random);
  }
  return code;
}

FloatImage Playground::draw(const Code& code) const {
  const NoGrad no_grad;
  if (autoencoder_) return to_float_images(picture_of(*autoencoder_, code)).front();
  return to_float_images(generator_->synthesize(code.latent, code.noise)).front();
}

std::vector<Image> Playground::maps_of(const Code& code) const {
  const NoGrad no_grad;
  std::vector<Image> pictures;
  for (const Tensor& map : code.noise) {
    const Tensor grey = normalised_map(map) * 2 - 1;
    pictures.push_back(to_image(to_float_images(broadcast(grey, {1, map.size(1), map.size(2), 3})).front()));
  }
  return pictures;
}

Playground::Denoised Playground::denoise(const Picture& picture, double sigma, std::uint64_t seed) const {
  const auto settings =
      denoises_.value_or(DenoiseSettings{NoiseAt::model, NoiseChannels::independent, false});
  ImagePair pair = denoise_pair(picture.original, sigma, settings, static_cast<int>(decoder().size()), seed,
                                om::picture_of(picture.original));
  FloatImage made = reconstruct(*autoencoder_, pair.input, backend_);
  if (settings.grey) made = to_float_image(to_grey(to_image(made)));
  return {std::move(pair.target), std::move(pair.input), std::move(made)};
}

Sheet Playground::sheet(const Picture& picture, const Code& code) const {
  constexpr int columns = 5;
  const Image made = to_image(draw(code));
  std::vector<Image> maps = maps_of(code);
  for (Image& map : maps) map = enlarge(map, std::max(1, picture.input.width / map.width));
  return {{"input", "reconstruction", "difference", "noise maps, 4x4 first"},
          {{"", {picture.input, made, difference(picture.input, made), tile(maps, columns)}}}};
}

Image difference(const Image& a, const Image& b) {
  if (a.height != b.height || a.width != b.width) fail("difference: pictures of different sizes");
  Image out(a.height, a.width);
  for (std::size_t i = 0; i < out.pixels.size(); ++i)
    out.pixels[i] = static_cast<std::uint8_t>(std::abs(int{a.pixels[i]} - int{b.pixels[i]}));
  return out;
}

}  // namespace om
