// A model to play with by hand: pictures that were encoded are kept, and their codes changed and drawn as the
// paper's figures have it (train/analysis.h), one picture at a time. For one thread.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/model_file.h"
#include "io/sheet.h"
#include "train/denoise.h"
#include "train/evaluate.h"

namespace om {

/// A picture that is not kept any more, or never was.
class PictureGone : public InputError {
 public:
  using InputError::InputError;
};

class Playground {
 public:
  /// A model with a generator, and an encoder where pictures are to be looked at. InputError where the
  /// encoder predicts no latents. Pictures are numbered from `first` on.
  Playground(Model model, Backend& backend, std::uint64_t first = 1);

  /// One picture through the networks, kept by nobody: a device chooses its convolutions' engines and
  /// compiles now, not while somebody waits.
  void warm_up() const;

  const Decoder& decoder() const { return autoencoder_ ? autoencoder_->decoder() : *generator_; }
  bool encodes() const { return autoencoder_ != nullptr; }
  bool predicts_noise() const { return encodes() && autoencoder_->predicts_noise(); }
  /// How it was trained to remove noise; nothing where it was not, or the file does not tell.
  const std::optional<DenoiseSettings>& denoises() const { return denoises_; }
  const std::vector<double>& sigmas() const { return sigmas_; }

  struct Picture {
    std::uint64_t id = 0;
    Image original;  ///< as it came
    Image input;     ///< of the model's size
    Code code;       ///< its latent W+; maps that the encoder does not predict are random ones
  };
  /// Encodes a picture and keeps it; beyond kPictures or kBytes the oldest goes.
  const Picture& add(Image picture);
  /// PictureGone where it is not there.
  const Picture& picture(std::uint64_t id) const;

  static constexpr std::size_t kPictures = 32, kBytes = std::size_t{128} << 20;

  /// Where noise maps come from, and a factor for each (none: as they are): figure 5, all at once.
  struct NoiseChange {
    NoiseMaps maps = NoiseMaps::predicted;
    std::uint64_t seed = 0;       ///< of random ones
    std::vector<double> factors;  ///< empty, or one a map. UsageError otherwise
  };
  Code changed(const Picture& picture, const NoiseChange& change) const;
  /// Latent and noise between two pictures, each by its own t in [0, 1]: figure 6.
  Code between(const Picture& left, const Picture& right, double latent, double noise) const;
  /// Of a seed as `generate` has it: stored maps where the file has them else random, or zeros; truncated
  /// where told.
  enum class SampleNoise : std::uint8_t { stored, random, zero };
  Code sample(std::uint64_t seed, SampleNoise noise, std::optional<double> truncation);

  /// The picture of a code, in [0, 1].
  FloatImage draw(const Code& code) const;
  /// A code's noise maps as grey pictures, each by its own range (figure 4).
  std::vector<Image> maps_of(const Code& code) const;

  /// A picture with noise of sigma (of 255), and what the model makes of it.
  struct Denoised {
    Image clean, noisy;
    FloatImage made;
  };
  Denoised denoise(const Picture& picture, double sigma, std::uint64_t seed) const;

  /// Input, reconstruction, difference, and the maps: what `figure noise-maps` draws and the difference.
  Sheet sheet(const Picture& picture, const Code& code) const;

 private:
  Code code_of(const Image& input) const;

  std::unique_ptr<Autoencoder> autoencoder_;
  std::unique_ptr<Decoder> generator_;  // where there is no encoder
  Backend& backend_;
  std::optional<DenoiseSettings> denoises_;
  std::vector<double> sigmas_ = kSigmas;
  std::list<Picture> pictures_;  // the oldest first
  std::uint64_t next_;
  Tensor average_;
};

/// |a - b| of two pictures of one size.
Image difference(const Image& a, const Image& b);

}  // namespace om
