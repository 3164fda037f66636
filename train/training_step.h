// One step of the recipe: the encoder, in train mode, is pulled so that the frozen generator gives the input
// back.
//
//   loss = sum over the images of (mean squared error + LPIPS)
#pragma once

#include <optional>
#include <vector>

#include "models/autoencoder.h"
#include "models/lpips.h"
#include "train/adam.h"

namespace om {

/// The encoder's parameters as the optimiser's groups: "main" and "noise_heads" (to_noise and
/// intermediate_to_noise) with a clip of their own, or, without `separate_noise_heads`, all in "main". A
/// group without parameters is left out.
std::vector<ParameterGroup> encoder_groups(const Encoder& encoder, double lr, double lr_noise_heads,
                                           bool separate_noise_heads = true);

/// Makes the encoder's parameters trainable and in train mode, the generator's constant and in evaluation
/// mode.
void prepare_training(const Autoencoder& model);

struct StepResult {
  Tensor loss, mse, lpips;    ///< [], sums over the batch, on the backend; lpips undefined without LPIPS
  std::vector<Tensor> norms;  ///< of each group's gradients before clipping, []
  Tensor reconstruction;      ///< [N, S, S, 3] from before the step
};

/// images [N, S, S, 3] in [-1, 1]. Reads nothing back, so it can be captured.
StepResult training_step(const Autoencoder& model, const Lpips* lpips, Adam& adam, const Tensor& images);

}  // namespace om
