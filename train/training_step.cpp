#include "train/training_step.h"

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "nn/losses.h"

namespace om {

std::vector<ParameterGroup> encoder_groups(const Encoder& encoder, double lr, double lr_noise_heads,
                                           bool separate_noise_heads) {
  ParameterGroup main{"main", {}, lr}, noise{"noise_heads", {}, lr_noise_heads};
  for (Entry& entry : encoder.parameters()) {
    const bool head = entry.name.starts_with("to_noise.") || entry.name.starts_with("intermediate_to_noise.");
    (head && separate_noise_heads ? noise : main).parameters.push_back(std::move(entry));
  }
  std::vector<ParameterGroup> groups;
  for (ParameterGroup* group : {&main, &noise})
    if (!group->parameters.empty()) groups.push_back(std::move(*group));
  return groups;
}

void prepare_training(const Autoencoder& model) {
  model.encoder().set_trainable(true);
  model.encoder().set_training(true);
  model.decoder().set_trainable(false);
  model.decoder().set_training(false);
}

StepResult training_step(const Autoencoder& model, const Lpips* lpips, Adam& adam, const Tensor& images) {
  StepResult result;
  std::vector<Tensor> gradients;
  {
    const Tensor output = model(images);
    const Tensor mse = sum_of_mse(output, images);
    Tensor loss = mse;
    if (lpips != nullptr) {
      const Tensor perceptual = sum((*lpips)(output, images));
      result.lpips = perceptual.detach();
      loss = mse + perceptual;
    }
    gradients = grad({loss}, adam.parameters(), {.allow_unused = true});
    result.loss = loss.detach();
    result.mse = mse.detach();
    result.reconstruction = output.detach();
  }
  result.norms = adam.step(gradients);
  return result;
}

}  // namespace om
