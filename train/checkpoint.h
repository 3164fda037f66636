// Checkpoints of a training run: a safetensors file with
//
//   encoder.*                               weights and statistics, named and laid out as in PyTorch's files
//   optimizer.NAME.{exp_avg,exp_avg_sq,step}  Adam's state of the parameter encoder.NAME, where it has any
//
// and in the metadata the counters of TrainingState and a checksum of the tensors. No path, time or machine
// is in it, nor how often the run was resumed.
#pragma once

#include <cstdint>
#include <string>

#include "models/encoder.h"
#include "tensor/philox.h"
#include "train/adam.h"

namespace om {

/// Where a run stands, besides its tensors.
struct TrainingState {
  std::int64_t iteration = 0;  ///< steps done; the schedule follows from it
  std::int64_t position = 0;   ///< images those steps took from the stream
  philox::State random;
  /// Whether samples and validation due after this iteration are done (a stop may come in between).
  bool settled = true;
  std::string settings;     ///< to_json(config, false)
  std::string generator;    ///< fingerprint() of the frozen generator
  std::int64_t images = 0;  ///< in the training folder, whose order depends on it
};

/// A text that differs where names, shapes or values of a module's tensors differ.
std::string fingerprint(const Module& module);

/// Writes atomically and durably.
void save_checkpoint(const std::string& path, const TrainingState& state, const Encoder& encoder,
                     const Adam& adam);

/// Fills encoder and optimiser. InputError `FILE: reason` where the file is broken in any way or does not
/// fit; both may then be half filled.
TrainingState load_checkpoint(const std::string& path, const Encoder& encoder, Adam& adam);

}  // namespace om
