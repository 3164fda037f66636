// Image2StyleGAN (Abdal, Qin, Wonka 2019): an image is embedded by optimising the generator's inputs for it
// alone. The slow rival of the paper's encoder (section 4.4).
//
//   minimise over the latent (and, as an option, the noise maps)
//     mean (G - x)^2 + sum over j of mean (F_j(G) - F_j(x))^2        F: four feature maps of VGG16
//
// with Adam (0.9, 0.999, 1e-8) at a fixed rate. The publication leaves open, and this program sets: pictures
// in [-1, 1]; VGG's input as torchvision's; features after the relu; noise maps as stored, else drawn once
// from the seed.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/autoencoder.h"
#include "models/vgg_features.h"
#include "train/adam.h"

namespace om {

/// What is optimised: one w per layer, one w for all, or a z before the mapping network.
enum class LatentSpace : std::uint8_t { wplus, w, z };

struct EmbeddingSettings {
  LatentSpace space = LatentSpace::wplus;
  bool optimise_noise = false;
  double rate = 0.01;
  std::uint64_t seed = 0;
};

class Embedding : public Module {
 public:
  /// `target` [1, S, S, 3] in [-1, 1]; `vgg` may be null: the squared error alone. W+ and w start at the mean
  /// w, z at a normal draw; draws depend on the seed alone. The decoder's parameters become constants.
  Embedding(const Decoder& decoder, const VggFeatures* vgg, const EmbeddingSettings& settings, Tensor target);

  /// One step; the loss before it, [], on the backend.
  Tensor step();
  std::int64_t iteration() const { return iteration_; }

  /// The picture at this point, [1, S, S, 3].
  Tensor picture() const;
  /// The inputs at this point: W+ [1, L, D], or z [1, D] in that space; every noise map.
  Code code() const;

  /// Everything that continues the optimisation, with `history` (any text) beside it; atomic. A text that
  /// says which picture and settings it belongs to is kept and compared.
  void save(const std::string& path, const std::string& history) const;
  /// The history. InputError where the file is broken or belongs to another picture or other settings.
  std::string load(const std::string& path);

  /// Which picture, generator and settings: equal texts give equal results.
  std::string identity() const;

 private:
  Tensor latents() const;

  const Decoder& decoder_;
  const VggFeatures* vgg_;
  EmbeddingSettings settings_;
  Tensor target_;
  std::vector<Tensor> target_features_;
  Tensor latent_;
  std::vector<Tensor> noise_;
  std::unique_ptr<Adam> adam_;
  std::int64_t iteration_ = 0;
};

/// VGG16 of a torchvision state dict. InputError where the file holds none.
std::unique_ptr<VggFeatures> load_vgg_features(const std::string& path, Backend& backend);

}  // namespace om
