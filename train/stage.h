// The stages of a run: what each of them trains, at which rates, and with which noise maps (the paper's
// section on the semantic leak). A stage begins with a fresh optimiser and has a cosine of its own.
//
//   strategy        stage 1                                     stage 2
//   plain           everything
//   two-networks    the latent encoder, on random noise         the noise encoder; the latent encoder's
//                                                               weights stand, its statistics move
//   learning-rate   all but the noise heads, on random noise    the noise heads at lr_noise_heads, the rest
//                                                               at backbone_rate x lr (0: its weights stand)
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "autograd/precision.h"
#include "autograd/random.h"
#include "tensor/replay.h"
#include "train/config.h"
#include "train/training_step.h"

namespace om {

struct StageRecipe {
  bool noise_network = false;  ///< trains the noise encoder of two networks, else the (latent) encoder
  bool random_noise = false;   ///< decodes with fresh random maps in every step, not with predicted ones
  GroupRates rates;            ///< of the first step
  double lr_min = 1e-8;        ///< of the last, or that of the first where it is smaller
  std::int64_t iterations = 1;
  AdamOptions adam;

  /// The rate after `done` steps of a group whose first is `first`.
  double rate(double first, std::int64_t done) const;
};

/// Stages of a run: 1 or 2.
int stages_of(const TrainConfig& config);
/// The stage of the run's step number `iteration`, from 1 on (0 counts as the first).
int stage_of(const TrainConfig& config, std::int64_t iteration);
/// Steps of the run before a stage, and of all stages.
std::int64_t steps_before(const TrainConfig& config, int stage);
std::int64_t total_steps(const TrainConfig& config);
StageRecipe stage_recipe(const TrainConfig& config, int stage);

/// A stage in progress: model, optimiser, schedule and random numbers, one step at a time. Where the backend
/// records, the first step runs as it is, the second is recorded, and later ones are replays
/// (tensor/replay.h): what differs between them lies in tensors that stay.
class Training {
 public:
  /// Puts the networks into the modes that the stage needs. What is passed must outlive it; `lpips` may be
  /// null. `together`: the ranks that train this model, each with a batch of its own; null, or one: alone.
  Training(const Autoencoder& model, const Lpips* lpips, const StageRecipe& recipe, RandomSource& random,
           Communicator* together = nullptr);
  /// Before the first step; larger buckets of gradients are fewer, smaller ones go earlier.
  void set_bucket_bytes(std::size_t bytes) { bucket_bytes_ = bytes; }
  Training(const Training&) = delete;
  Training& operator=(const Training&) = delete;

  /// The stage's step after `done` finished ones. images [N, S, S, 3] in [-1, 1]; targets as training_step
  /// has them. The next step may overwrite the result. Other shapes, or another precision, than the step
  /// before had begin anew: as it is, recorded, replayed.
  StepResult step(std::int64_t done, const Tensor& images, const Tensor& targets = {});

  /// A group's rate in that step.
  double rate(std::size_t group, std::int64_t done) const {
    return recipe_.rate(first_rates_.at(group), done);
  }

  /// Whether steps are replays by now.
  bool recorded() const { return replay_ && replay_->recorded(); }

  Adam& adam() { return adam_; }
  const StageRecipe& recipe() const { return recipe_; }

 private:
  void place(const Tensor& images, const Tensor& targets, const std::vector<Tensor>& noise);

  const Autoencoder& model_;
  const Lpips* lpips_;
  StageRecipe recipe_;
  RandomSource& random_;
  Communicator* together_;  // null: alone
  std::size_t bucket_bytes_ = kBucketBytes;
  Adam adam_;
  std::vector<double> first_rates_;  // by group
  // what a step reads, where it always lies
  Tensor images_, targets_;
  std::vector<Tensor> noise_;
  Precision precision_ = Precision::fp32;  // of the steps since the last beginning
  std::int64_t steps_ = 0;                 // since then
  StepResult result_;
  std::optional<Replay> replay_;
  /// The optimiser's part of a step, where what goes between ranks lies between two recordings.
  std::optional<Replay> finish_;
  /// A whole step, where norms go between ranks on the way and that cannot be recorded.
  std::function<void()> plain_;
};

}  // namespace om
