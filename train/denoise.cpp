#include "train/denoise.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "io/resize.h"
#include "tensor/error.h"
#include "tensor/philox.h"

namespace om {
namespace {

constexpr std::uint64_t kSigmaDraw = ~std::uint64_t{0};  // the block that chooses sigma: no noise reaches it

/// splitmix64's finaliser, as in io/image_folder.cpp: a bijection of 64 bits.
std::uint64_t mixed(std::uint64_t z) {
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
  z = (z ^ z >> 27) * 0x94d049bb133111ebU;
  return z ^ z >> 31;
}

}  // namespace

const char* name_of(NoiseAt at) { return at == NoiseAt::file ? "file" : "model"; }
const char* name_of(NoiseChannels channels) {
  return channels == NoiseChannels::shared ? "shared" : "independent";
}

NoiseAt noise_at(const std::string& name) {
  if (name == "file") return NoiseAt::file;
  if (name == "model") return NoiseAt::model;
  fail<UsageError>("noise is added at 'file' or at 'model' resolution, got '", name, "'");
}

NoiseChannels noise_channels(const std::string& name) {
  if (name == "independent") return NoiseChannels::independent;
  if (name == "shared") return NoiseChannels::shared;
  fail<UsageError>("noise of the channels is 'independent' or 'shared', got '", name, "'");
}

Image to_grey(const Image& image) {
  Image grey(image.height, image.width);
  for (std::size_t i = 0; i + 2 < image.pixels.size(); i += 3) {
    const std::uint8_t* rgb = &image.pixels[i];
    const unsigned light = (19595U * rgb[0] + 38470U * rgb[1] + 7471U * rgb[2] + 32768U) >> 16;
    std::fill_n(&grey.pixels[i], 3, static_cast<std::uint8_t>(light));
  }
  return grey;
}

std::uint64_t picture_of(const Image& image) {
  std::uint64_t hash = 0xcbf29ce484222325U;  // FNV-1a of 64 bits
  const auto add = [&](std::uint64_t value) { hash = (hash ^ value) * 0x100000001b3U; };
  add(static_cast<std::uint64_t>(image.height));
  add(static_cast<std::uint64_t>(image.width));
  for (const std::uint8_t value : image.pixels) add(value);
  return mixed(hash);
}

// Set apart from the small numbers by which the run counts its other draws.
std::uint64_t picture_of(std::int64_t position) {
  return mixed(static_cast<std::uint64_t>(position) + 0x9e3779b97f4a7c15U);
}

void draw_noise(std::span<double> out, std::uint64_t seed, std::uint64_t picture, std::uint64_t first_block) {
  for (std::size_t i = 0; i < out.size(); i += 4) {
    const philox::Block words = philox::block({seed, picture}, first_block + i / 4);
    for (std::size_t j = 0; j < 4 && i + j < out.size(); ++j) {
      const std::uint32_t u = words[j & 2], v = words[(j & 2) + 1];
      const double radius = std::sqrt(-2 * std::log(philox::radius_uniform(u)));
      const double angle = 2 * std::numbers::pi * philox::angle_uniform(v);
      out[i + j] = radius * ((j & 1) == 0 ? std::cos(angle) : std::sin(angle));
    }
  }
}

double draw_sigma(const std::vector<double>& sigmas, std::uint64_t seed, std::uint64_t picture) {
  if (sigmas.empty()) fail<UsageError>("no sigma to draw from");
  const std::uint64_t word = philox::block({seed, picture}, kSigmaDraw)[0];
  return sigmas[word * sigmas.size() >> 32];
}

Image with_noise(const Image& image, double sigma, NoiseChannels channels, std::uint64_t seed,
                 std::uint64_t picture) {
  const std::size_t values = channels == NoiseChannels::shared ? 3 : 1;  // that one number serves
  const std::size_t count = image.pixels.size() / values;
  Image noisy(image.height, image.width);
  std::array<double, 4096> noise;
  for (std::size_t begin = 0; begin < count; begin += noise.size()) {  // in pieces of whole blocks
    const std::span<double> piece = std::span(noise).first(std::min(noise.size(), count - begin));
    draw_noise(piece, seed, picture, begin / 4);
    for (std::size_t i = 0; i < piece.size() * values; ++i) {
      const double value = image.pixels[begin * values + i] + sigma * piece[i / values];
      noisy.pixels[begin * values + i] = static_cast<std::uint8_t>(std::clamp(std::round(value), 0.0, 255.0));
    }
  }
  return noisy;
}

ImagePair denoise_pair(const Image& image, double sigma, const DenoiseSettings& settings, int side,
                       std::uint64_t seed, std::uint64_t picture) {
  const Image original = settings.grey ? to_grey(image) : image;
  const NoiseChannels channels = settings.grey ? NoiseChannels::shared : settings.channels;
  Image clean = resize_bilinear(original, side, side);
  if (settings.at == NoiseAt::model) return {with_noise(clean, sigma, channels, seed, picture), clean};
  return {resize_bilinear(with_noise(original, sigma, channels, seed, picture), side, side), clean};
}

}  // namespace om
