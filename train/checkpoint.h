// Checkpoints of a training run: a safetensors file with
//
//   encoder.*                               weights and statistics, named and laid out as in PyTorch's files
//                                           (latent_encoder.* and noise_encoder.* of two networks)
//   optimizer.NAME.{exp_avg,exp_avg_sq,step}  Adam's state of the parameter NAME of the network that the
//                                           stage trains, where it has any
//
// and in the metadata the counters of TrainingState and a checksum of all that stands in the file. No path,
// time or machine is in it, nor how often the run was resumed.
#pragma once

#include <cstdint>
#include <string>

#include "io/safetensors.h"
#include "models/autoencoder.h"
#include "tensor/philox.h"
#include "train/adam.h"

namespace om {

/// Where a run stands, besides its tensors.
struct TrainingState {
  std::int64_t iteration = 0;  ///< steps done; stage and schedule follow from it
  std::int64_t position = 0;   ///< images those steps took from the stream
  philox::State random;
  /// Whether samples, validation and whatever else is due after this iteration are done (a stop may come in
  /// between).
  bool settled = true;
  std::string settings;      ///< to_json(config, false)
  std::string generator;     ///< fingerprint() of the frozen generator
  std::string lpips = {};    ///< fingerprint() of the perceptual loss; empty without one
  std::string metrics = {};  ///< fingerprint of the lines of metrics.jsonl up to here
  std::int64_t images = 0;   ///< in the training folder, whose order depends on it
  std::int64_t ranks = 1;    ///< that the steps were shared out to; 1 is not written
};

/// A text that differs where names, shapes or values of a module's tensors differ.
std::string fingerprint(const Module& module);

/// Writes atomically and durably.
void save_checkpoint(const std::string& path, const TrainingState& state, const Autoencoder& model,
                     const Adam& adam);

/// A checkpoint that was read. InputError `FILE: reason` where the file is broken in any way.
class TrainingCheckpoint {
 public:
  explicit TrainingCheckpoint(const std::string& path);

  const TrainingState& state() const { return state_; }
  /// Of the format whose checksum covers the tensors alone; it knows neither `lpips` nor `metrics`.
  bool old_format() const { return old_; }

  /// Fills encoders and optimiser. InputError where a tensor is missing or does not fit; both may then be
  /// half filled.
  void fill(const Autoencoder& model, Adam& adam) const;

 private:
  std::string path_;
  SafeTensors content_;
  TrainingState state_;
  bool old_ = false;
};

}  // namespace om
