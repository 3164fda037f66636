// One step of the recipe: encoders, in train mode, are pulled so that the frozen generator gives the input
// back.
//
//   loss = sum over the images of (mean squared error + LPIPS)
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "models/autoencoder.h"
#include "models/lpips.h"
#include "train/adam.h"
#include "train/gradient_buckets.h"

namespace om {

/// First rates of an encoder's two parts; a part without one is not trained.
struct GroupRates {
  std::optional<double> main = {};         ///< all but the noise heads
  std::optional<double> noise_heads = {};  ///< to_noise and intermediate_to_noise
  bool one_group = false;                  ///< all of it at `main`, in one group
};

/// The encoder's parameters as the optimiser's groups, each with a clip of its own: "main" and "noise_heads".
/// A group without parameters is left out.
std::vector<ParameterGroup> encoder_groups(const Encoder& encoder, const GroupRates& rates);

/// Makes what the optimiser trains trainable and all else constant, the encoders in train mode (statistics
/// of one that stands still move) and the generator in evaluation mode.
void prepare_training(const Autoencoder& model, const Adam& adam);

/// The running statistics of all encoders' norms become the means over so many batches of images, which
/// `next` gives (NormMomentum). Leaves the encoders in train mode.
void average_norms(const Autoencoder& model, std::int64_t batches, const std::function<Tensor()>& next);

/// What reconstructions cost: sums over the batch, []; loss is the sum of the others, lpips undefined without
/// LPIPS.
struct Losses {
  Tensor loss, mse, lpips;
};
Losses losses_of(const Tensor& output, const Tensor& target, const Lpips* lpips);

struct StepResult {
  Tensor loss, mse, lpips;    ///< [], sums over the batch, on the backend; lpips undefined without LPIPS
  Tensor sums;                ///< [2 or 3], with several ranks: these over all of them
  std::vector<Tensor> norms;  ///< of each group's gradients before clipping, []
  /// Of adam.parameters(), over all ranks and before clipping; undefined where there is none.
  std::vector<Tensor> gradients;
  Tensor reconstruction;  ///< [N, S, S, 3] from before the step
  /// All that a log wants in one array, f32 [3 + groups] or without LPIPS [2 + groups]: loss, mse, lpips,
  /// norms.
  Tensor figures;
};

/// images [N, S, S, 3] in [-1, 1]; noise maps [N or 1, s, s, 1], 4x4 first, to decode with, or none: those
/// that the model predicts. Reads nothing back and draws nothing, so it can be captured.
/// `targets` [N, S, S, 3]: what the reconstruction is compared with; undefined: the images themselves.
/// `together`: the ranks, of whose batches this is a part; null: there is but one. Losses are sums over
/// images, so gradients are summed over the ranks, and clipped then.
StepResult training_step(const Autoencoder& model, const Lpips* lpips, Adam& adam, const Tensor& images,
                         const std::vector<Tensor>& noise = {}, const Tensor& targets = {},
                         Communicator* together = nullptr, std::size_t bucket_bytes = kBucketBytes);

/// The same in three parts, where what goes between ranks cannot be recorded: all but norms and figures, of
/// this rank's batch alone, each gradient in memory of its own; the sums over the ranks; and the optimiser's
/// step.
StepResult backward_step(const Autoencoder& model, const Lpips* lpips, const Adam& adam, const Tensor& images,
                         const std::vector<Tensor>& noise, const Tensor& targets);
void sum_over_ranks(StepResult& step, Communicator& together, std::size_t bucket_bytes = kBucketBytes);
void finish_step(StepResult& step, Adam& adam);

}  // namespace om
