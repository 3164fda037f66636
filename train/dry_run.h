// What a training run will take, before it begins: its own steps on a dry backend (tensor/dry.h). Nothing is
// trained, written, or allocated beyond addresses.
#pragma once

#include <cstddef>
#include <vector>

#include "tensor/dry.h"
#include "train/config.h"

namespace om {

/// Bytes of the backend's memory, as its allocator counts them.
struct MemoryPlan {
  int stage = 1;
  std::size_t trained = 0;      ///< weights and statistics of the encoders
  std::size_t frozen = 0;       ///< weights of the generator and of LPIPS
  std::size_t optimiser = 0;    ///< moments, counters and rates
  std::size_t activations = 0;  ///< what a step keeps until its backward pass, its images included
  std::size_t scratch = 0;      ///< workspace of the kernel that ran at the peak; 0 where it took none
  std::size_t peak = 0;         ///< handed out at one time
  std::size_t held = 0;         ///< the same and what lies ready for reuse, a recorded step's pool included
  bool scratch_known = false;   ///< whether the backend can say what its kernels take
  Work step;                    ///< of one step

  /// Gradients, and results that live for a moment.
  std::size_t passing() const;
};

/// One entry a stage. UsageError or InputError as train() has them for the settings and the networks' files;
/// of the images only the folder is looked into.
std::vector<MemoryPlan> plan_training(const TrainConfig& config, Backend& backend);

}  // namespace om
