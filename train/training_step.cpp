#include "train/training_step.h"

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "nn/losses.h"

namespace om {
namespace {

/// Those losses that there are, [2 or 3].
Tensor losses_in_one(const StepResult& step) {
  const NoGrad no_grad;
  std::vector<Tensor> losses = {reshape(step.loss, {1}), reshape(step.mse, {1})};
  if (step.lpips.defined()) losses.push_back(reshape(step.lpips, {1}));
  return concat(losses, 0);
}

Tensor figures_of(const StepResult& step) {
  const NoGrad no_grad;
  std::vector<Tensor> figures = {step.sums};
  if (!step.sums.defined()) {
    figures = {step.loss, step.mse};
    if (step.lpips.defined()) figures.push_back(step.lpips);
  }
  figures.insert(figures.end(), step.norms.begin(), step.norms.end());
  for (Tensor& figure : figures) figure = reshape(cast(figure, DType::f32), {figure.elements()});
  return concat(figures, 0);
}

std::size_t bytes_of(const std::vector<Tensor>& tensors) {
  std::size_t bytes = 0;
  for (const Tensor& tensor : tensors)
    if (tensor.defined()) bytes += static_cast<std::size_t>(tensor.elements()) * size_of(tensor.dtype());
  return bytes;
}

/// Forward and backward, and what of it goes to the other ranks on the way.
StepResult differentiate(const Autoencoder& model, const Lpips* lpips, const Adam& adam, const Tensor& images,
                         const std::vector<Tensor>& noise, const Tensor& targets, GradientBuckets* buckets,
                         Communicator* together) {
  const Tensor& target = targets.defined() ? targets : images;
  StepResult result;
  const Tensor output = noise.empty() ? model(images) : model(images, noise);
  const Losses losses = losses_of(output, target, lpips);
  result.loss = losses.loss.detach();
  result.mse = losses.mse.detach();
  if (losses.lpips.defined()) result.lpips = losses.lpips.detach();
  if (together != nullptr) together->mark("forward");
  GradOptions options{.allow_unused = true};
  if (buckets != nullptr) {
    options.when_known = [&](const std::vector<std::size_t>& inputs) {
      std::vector<Tensor> known;
      for (const std::size_t input : inputs) known.push_back(adam.parameters()[input]);
      buckets->expect(bytes_of(known));
    };
    options.when_final = [&](std::size_t, Tensor& gradient) {
      if (!gradient.sole_owner()) gradient = gradient.clone();  // others still need what is in there
      buckets->add(gradient);
    };
  }
  result.gradients = grad({losses.loss}, adam.parameters(), options);
  result.reconstruction = output.detach();
  return result;
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

void average_norms(const Autoencoder& model, std::int64_t batches, const std::function<Tensor()>& next) {
  const NoGrad no_grad;
  for (const auto& [name, encoder] : model.encoders()) encoder->set_training(true);
  for (std::int64_t seen = 0; seen < batches; ++seen) {
    const NormMomentum mean(1.0 / static_cast<double>(seen + 1));
    model.encode(next());
  }
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
                         const std::vector<Tensor>& noise, const Tensor& targets, Communicator* together,
                         std::size_t bucket_bytes) {
  StepResult result;
  if (together == nullptr) {
    result = differentiate(model, lpips, adam, images, noise, targets, nullptr, nullptr);
  } else {
    together->mark("start");
    GradientBuckets buckets(*together, bucket_bytes);
    result = differentiate(model, lpips, adam, images, noise, targets, &buckets, together);
    result.sums = losses_in_one(result);
    together->mark("backward");
    buckets.finish({result.sums});
  }
  finish_step(result, adam);
  if (together != nullptr) together->mark("sums and optimiser");
  return result;
}

StepResult backward_step(const Autoencoder& model, const Lpips* lpips, const Adam& adam, const Tensor& images,
                         const std::vector<Tensor>& noise, const Tensor& targets) {
  StepResult result = differentiate(model, lpips, adam, images, noise, targets, nullptr, nullptr);
  result.sums = losses_in_one(result);
  for (Tensor& gradient : result.gradients)
    if (gradient.defined() && !gradient.sole_owner()) gradient = gradient.clone();
  return result;
}

void sum_over_ranks(StepResult& step, Communicator& together, std::size_t bucket_bytes) {
  GradientBuckets buckets(together, bucket_bytes);
  buckets.expect(bytes_of(step.gradients));
  for (const Tensor& gradient : step.gradients)
    if (gradient.defined()) buckets.add(gradient);
  buckets.finish({step.sums});
}

void finish_step(StepResult& step, Adam& adam) {
  step.norms = adam.step(step.gradients);
  step.figures = figures_of(step);
}

}  // namespace om
