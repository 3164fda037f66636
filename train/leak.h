// The semantic leak (the paper's section of that name): how much of a picture the noise maps carry. With
// predicted maps replaced by random ones or by zeros, what is left of the picture is what the latent code
// says; the smaller the loss, the less has leaked into the noise.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "train/evaluate.h"
#include "train/picture_flow.h"

namespace om {

struct LeakPicture : FlowPicture {
  ImageScores zero, random;
  std::optional<ImageScores> predicted;
};

/// Measures pictures on their way through run_flow().
class SemanticLeak {
 public:
  /// What is passed must outlive it. `seed` is the random maps'.
  SemanticLeak(const Autoencoder& model, std::uint64_t seed, Backend& backend);

  /// A picture encoded once and decoded with each kind of maps, in evaluation mode.
  Inference::Work work() const;
  /// What scores it against pair.target and adds to the means; `prepare` is the caller's.
  FlowSteps<LeakPicture> steps(const std::vector<std::filesystem::path>& files);

  std::size_t images() const { return random_.size(); }
  /// Means with each kind of maps; for `predicted` empty where the model predicts none.
  ImageScores mean(NoiseMaps noise) const;

 private:
  const Autoencoder& model_;
  std::uint64_t seed_;
  Backend& backend_;
  std::vector<ImageScores> predicted_, random_, zero_;
};

}  // namespace om
