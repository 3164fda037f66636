#include "train/samples.h"

namespace om {
namespace {

constexpr std::int64_t kAverageOf = 4096;
constexpr std::uint64_t kNoiseDraws = 1ULL << 32;

}  // namespace

Tensor sample_latents(const Decoder& decoder, std::uint64_t seed, std::int64_t count, Backend& backend) {
  return RandomSource(seed, backend).normal({count, decoder.z_width()});
}

RandomSource sample_noise(std::uint64_t seed, Backend& backend) {
  RandomSource random(seed, backend);
  random.set_state({seed, kNoiseDraws});
  return random;
}

Tensor truncation_average(const Decoder& decoder, Backend& backend) {
  if (decoder.latent_average().defined()) return decoder.latent_average();
  RandomSource random(0, backend);
  return estimate_latent_average(decoder, kAverageOf, random);
}

}  // namespace om
