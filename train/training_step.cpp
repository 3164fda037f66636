#include "train/training_step.h"

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "nn/losses.h"

namespace om {
namespace {

Tensor figures_of(const StepResult& step) {
  const NoGrad no_grad;
  std::vector<Tensor> figures = {step.loss, step.mse};
  if (step.lpips.defined()) figures.push_back(step.lpips);
  figures.insert(figures.end(), step.norms.begin(), step.norms.end());
  for (Tensor& figure : figures) figure = reshape(cast(figure, DType::f32), {1});
  return concat(figures, 0);
}

}  // namespace

std::vector<ParameterGroup> encoder_groups(const Encoder& encoder, const GroupRates& rates) {
  ParameterGroup main{"main", {}, rates.main.value_or(0)};
  ParameterGroup noise{"noise_heads", {}, rates.noise_heads.value_or(0)};
  for (Entry& entry : encoder.parameters()) {
    const bool head = entry.name.starts_with("to_noise.") || entry.name.starts_with("intermediate_to_noise.");
    const bool alone = head && !rates.one_group;
    if (alone ? rates.noise_heads.has_value() : rates.main.has_value())
      (alone ? noise : main).parameters.push_back(std::move(entry));
  }
  std::vector<ParameterGroup> groups;
  for (ParameterGroup* group : {&main, &noise})
    if (!group->parameters.empty()) groups.push_back(std::move(*group));
  return groups;
}

void prepare_training(const Autoencoder& model, const Adam& adam) {
  for (const Autoencoder::Part& part : model.encoders()) {
    part.encoder->set_trainable(false);
    part.encoder->set_training(true);
  }
  model.decoder().set_trainable(false);
  model.decoder().set_training(false);
  for (const Tensor& parameter : adam.parameters()) require_grad(parameter);
}

Losses losses_of(const Tensor& output, const Tensor& target, const Lpips* lpips) {
  Losses losses;
  losses.loss = losses.mse = sum_of_mse(output, target);
  if (lpips == nullptr) return losses;
  losses.lpips = sum((*lpips)(output, target));
  losses.loss = losses.mse + losses.lpips;
  return losses;
}

StepResult training_step(const Autoencoder& model, const Lpips* lpips, Adam& adam, const Tensor& images,
                         const std::vector<Tensor>& noise, const Tensor& targets) {
  const Tensor& target = targets.defined() ? targets : images;
  StepResult result;
  {
    const Tensor output = noise.empty() ? model(images) : model(images, noise);
    const Losses losses = losses_of(output, target, lpips);
    result.gradients = grad({losses.loss}, adam.parameters(), {.allow_unused = true});
    result.loss = losses.loss.detach();
    result.mse = losses.mse.detach();
    if (losses.lpips.defined()) result.lpips = losses.lpips.detach();
    result.reconstruction = output.detach();
  }
  result.norms = adam.step(result.gradients);
  result.figures = figures_of(result);
  return result;
}

}  // namespace om
