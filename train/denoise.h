// Denoising (paper, section 4.2): the model is shown a picture with Gaussian noise and is to give the clean
// one.
//
//   noisy = clip(round(clean + sigma n)), n ~ N(0, 1), on 8 bits, one n a value or one a pixel for its
//   channels
//
// The noise is added at the file's resolution, before the resize (as the authors do; the resize then removes
// most of it: sigma 25 stands at some 32 dB after it), or at the model's (20.3 dB). It is drawn on the host
// from Philox, keyed by seed and picture, so the same seed gives the same noisy picture on every backend, in
// any order and among any others.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/image_folder.h"

namespace om {

enum class NoiseAt : std::uint8_t { file, model };
enum class NoiseChannels : std::uint8_t { independent, shared };

const char* name_of(NoiseAt at);
const char* name_of(NoiseChannels channels);
/// UsageError where the name is none of the two.
NoiseAt noise_at(const std::string& name);
NoiseChannels noise_channels(const std::string& name);

struct DenoiseSettings {
  NoiseAt at = NoiseAt::file;
  NoiseChannels channels = NoiseChannels::independent;
  bool grey = false;  ///< pictures become grey first, and one n serves all channels
};

/// The sigmas that training draws from unless told otherwise, of 255.
inline const std::vector<double> kSigmas = {5, 10, 15, 25, 35, 50};
inline constexpr double kMaxSigma = 1000;

/// Pillow's L in all three channels: (19595 R + 38470 G + 7471 B + 32768) / 65536.
Image to_grey(const Image& image);

/// Which picture: by its content, or by its place in the stream of training images.
std::uint64_t picture_of(const Image& image);
std::uint64_t picture_of(std::int64_t position);

/// Standard normal numbers, from the picture's number 4 x first_block on; each is a function of seed, picture
/// and its place alone.
void draw_noise(std::span<double> out, std::uint64_t seed, std::uint64_t picture,
                std::uint64_t first_block = 0);

/// One of the sigmas, each as likely as any other.
double draw_sigma(const std::vector<double>& sigmas, std::uint64_t seed, std::uint64_t picture);

Image with_noise(const Image& image, double sigma, NoiseChannels channels, std::uint64_t seed,
                 std::uint64_t picture);

/// The noisy picture (input) and the clean one (target), both side x side.
ImagePair denoise_pair(const Image& image, double sigma, const DenoiseSettings& settings, int side,
                       std::uint64_t seed, std::uint64_t picture);

}  // namespace om
