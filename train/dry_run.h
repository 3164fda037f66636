// What a training run will take, before it begins: its own steps, and its validation, on a dry backend
// (tensor/dry.h). Nothing is trained, written, or allocated beyond addresses.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <numeric>
#include <vector>

#include "autograd/random.h"
#include "models/autoencoder.h"
#include "models/lpips.h"
#include "tensor/dry.h"
#include "train/config.h"
#include "train/dry_ranks.h"

namespace om {

/// Bytes of the backend's memory, as its allocator counts them.
struct MemoryPlan {
  int stage = 1;
  // of a step
  std::size_t trained = 0;      ///< weights and statistics of the encoders
  std::size_t frozen = 0;       ///< weights of the generator and of LPIPS
  std::size_t optimiser = 0;    ///< moments, counters and rates, and where a step's inputs are put
  std::size_t activations = 0;  ///< what a step keeps until its backward pass
  std::size_t scratch = 0;      ///< workspace of the kernel that ran at the peak; 0 where it took none
  std::size_t step_peak = 0;    ///< handed out at one time while steps ran
  Work step;                    ///< of one step
  // of several ranks, in a step
  int ranks = 1;
  std::vector<std::size_t> sums;  ///< bytes that this rank gives to each sum over them
  std::size_t copies = 0;         ///< of the backend's memory, beside the arrays while one sum travels
  // of the stage
  std::size_t validation_peak =
      0;                       ///< the same while the pictures of `val` go through; 0 where there are none
  std::size_t held = 0;        ///< handed out or ready for reuse at the end, recordings' pools included
  bool scratch_known = false;  ///< whether the backend can say what its kernels take

  std::size_t peak() const { return std::max(step_peak + copies, validation_peak); }
  std::size_t summed() const { return std::accumulate(sums.begin(), sums.end(), std::size_t{0}); }
  /// Gradients, and results that live for a moment.
  std::size_t passing() const;
};

/// One entry a stage, of one rank of `ranks`. UsageError or InputError as train() has them for the settings
/// and the networks' files; of the images only the folders are looked into.
std::vector<MemoryPlan> plan_training(const TrainConfig& config, Backend& backend, int ranks = 1);

/// The part of it that is steps, for networks that live on the dry backend. On a real one the steps are taken
/// and measured, work and workspace aside. `between` runs after each but the first, while what
/// they hold is there still. `together`: the ranks that it is one of.
MemoryPlan plan_steps(const TrainConfig& config, int stage, const Autoencoder& model, const Lpips* lpips,
                      RandomSource& random, Backend& backend, const std::function<void()>& between = {},
                      DryRanks* together = nullptr);

}  // namespace om
