// The training run: from settings to RUN/model.safetensors, with checkpoints on the way, so that a run that
// was stopped or killed at any moment and then resumed ends in the same bytes as one left alone.
//
// What makes that hold: a checkpoint keeps weights, statistics, Adam's state, the iteration (from which the
// rate follows), the random state and the position in the image stream after the last finished step.
// metrics.jsonl is synced before a checkpoint is written and cut back to it on resuming. Samples and
// validation that are due at an iteration come before its checkpoint; where a stop falls in between, the
// checkpoint says so and they are done on resuming. A checkpoint that a stop wrote off the schedule is
// removed when the next one on it stands.
//
// Nothing depends on threads or prefetching.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tensor/backend.h"
#include "tensor/communicator.h"
#include "train/config.h"

namespace om {

/// What a caller learns after each step.
struct StepReport {
  std::int64_t iteration = 0;   ///< steps done
  std::int64_t iterations = 0;  ///< steps of the whole run
  std::int64_t images = 0;      ///< in this step, of all ranks
  double loss = 0;              ///< sum over them
};

struct TrainOptions {
  std::string out = {};  ///< the run's folder
  bool resume = false;
  /// Keys of the configuration that the caller was given explicitly: what a resumed run compares with its
  /// own.
  std::vector<std::string> given = {};
  int loader_threads = 0;  ///< that read images; 0: 2, or half of threads() (2 to 8) beside a device
  const std::atomic<bool>* stop = nullptr;           ///< set: end after the step in progress
  std::function<void(const std::string&)> log = {};  ///< one line for the user
  std::function<void(const StepReport&)> after_step = {};
  /// The ranks that train together, each with config.batch images of every step; null: one alone. Each of
  /// them calls train() with the same configuration. Rank 0 alone reads and writes `out`.
  ranks::Member* member = nullptr;
  Communicator* together = nullptr;
  bool accept_other_ranks = false;  ///< go on with a run that another number of ranks began
};

struct TrainResult {
  bool interrupted = false;     ///< by `stop`; a checkpoint stands at `iteration` (none at 0)
  std::int64_t iteration = 0;   ///< steps done
  std::string model;            ///< path of the finished model; empty where interrupted
  std::int64_t unreadable = 0;  ///< images skipped; on rank 0 of all ranks
};

/// Trains an encoder for config.generator. With options.resume and a run in options.out that run goes on with
/// its own settings from its newest valid checkpoint (from iteration 0 where there is none).
///
/// UsageError: out holds a run and resume is not set, a given setting contradicts the run's, or one makes no
/// sense. InputError: an input is missing or broken, no image can be read, or no checkpoint can be used.
/// Error: a file cannot be written, the loss is not finite, or another rank has ended. OutOfMemory or
/// std::bad_alloc: memory or threads ran out. After each of them checkpoints stay as they were, and the run
/// can be resumed.
TrainResult train(const TrainConfig& config, const TrainOptions& options, Backend& backend);

}  // namespace om
