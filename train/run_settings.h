// The settings that a run has: of a new one the given ones, of one that goes on its own; and what follows
// from them for the loader and for validation.
//
// What a resumed run may find elsewhere than before, it tells by content (train/run_inputs.h).
#pragma once

#include <string>
#include <vector>

#include "io/image_folder.h"
#include "train/run_folder.h"
#include "train/run_inputs.h"
#include "train/run_pictures.h"
#include "train/run_ranks.h"
#include "train/trainer.h"

namespace om {

struct RunSettings {
  TrainConfig config;
  std::vector<std::string> moved;  ///< keys of inputs that the caller names elsewhere than the run had them
};

/// The stored settings on resuming (a larger `iterations` extends them, inputs may have moved, and memory may
/// be saved from now on), else the given ones with absolute paths. UsageError and InputError as train() has
/// them.
RunSettings resolve_settings(const TrainConfig& given, const TrainOptions& options, const RunFolder& folder);

/// The same for all ranks: rank 0 resolves them, and the others hear of it.
RunSettings shared_settings(const TrainConfig& given, const TrainOptions& options, const RunFolder& folder,
                            const RunRanks& ranks);

/// UsageError where what lies at another place than before is not what the run began with. What the run's
/// folder does not say of its perceptual loss is left to `checkpoint_tells`.
void expect_same_inputs(const RunInputs& before, const RunInputs& now, const RunSettings& settings,
                        bool checkpoint_tells);

/// `threads` as in TrainOptions; of each global batch the slice of rank `rank`.
LoaderOptions loader_options(const TrainConfig& config, std::int64_t size, int threads,
                             const Backend& backend, int rank = 0, int ranks = 1);

/// Pairs to validate on: the noise follows from the picture, so that it is the same each time.
RunPictures::MakePair validation_pairs(const TrainConfig& config, std::int64_t size);

}  // namespace om
