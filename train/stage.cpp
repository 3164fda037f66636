#include "train/stage.h"

#include <algorithm>
#include <utility>

#include "nn/batch_norm.h"
#include "train/schedule.h"

namespace om {

int stages_of(const TrainConfig& config) { return config.two_stages() ? 2 : 1; }

int stage_of(const TrainConfig& config, std::int64_t iteration) {
  return config.two_stages() && iteration > steps_before(config, 2) ? 2 : 1;
}

std::int64_t steps_before(const TrainConfig& config, int stage) {
  return stage == 2 ? config.stage1_iterations.value_or(config.iterations) : 0;
}

std::int64_t total_steps(const TrainConfig& config) {
  return steps_before(config, stages_of(config)) + config.iterations;
}

StageRecipe stage_recipe(const TrainConfig& config, int stage) {
  const bool first_of_two = config.two_stages() && stage == 1;
  StageRecipe recipe;
  recipe.random_noise = first_of_two;
  recipe.lr_min = config.lr_min;
  recipe.iterations = first_of_two ? steps_before(config, 2) : config.iterations;
  recipe.adam = {config.beta1, config.beta2, config.eps, config.weight_decay, config.clip_norm};
  recipe.rates = {.main = config.lr, .noise_heads = config.lr_noise_heads.value_or(config.lr)};
  if (config.strategy == "two-networks") {
    recipe.noise_network = stage == 2;
    recipe.rates.one_group = true;
  } else if (first_of_two) {
    recipe.rates.noise_heads.reset();
  } else if (config.two_stages()) {
    const double factor = config.backbone_rate.value_or(0.01);
    recipe.rates.main = factor > 0 ? std::optional(factor * config.lr) : std::nullopt;
  }
  return recipe;
}

double StageRecipe::rate(double first, std::int64_t done) const {
  return CosineSchedule{first, std::min(lr_min, first), iterations}.at(done);
}

Training::Training(const Autoencoder& model, const Lpips* lpips, const StageRecipe& recipe,
                   RandomSource& random, Communicator* together)
    : model_(model),
      lpips_(lpips),
      recipe_(recipe),
      random_(random),
      together_(together != nullptr && together->size() > 1 ? together : nullptr),
      adam_(encoder_groups(recipe.noise_network ? *model.noise_encoder() : model.encoder(), recipe.rates),
            recipe.adam) {
  prepare_training(model, adam_);
  for (const ParameterGroup& group : adam_.groups()) first_rates_.push_back(group.lr);
}

/// Copies a step's inputs to where every step reads them; what does not fit there begins anew.
void Training::place(const Tensor& images, const Tensor& targets, const std::vector<Tensor>& noise) {
  const auto differs = [](const Tensor& a, const Tensor& b) {
    return a.defined() != b.defined() || (a.defined() && (a.shape() != b.shape() || a.dtype() != b.dtype()));
  };
  if (!replay_ || precision_ != precision() || differs(images_, images) || differs(targets_, targets)) {
    const auto room = [](const Tensor& like) { return like.defined() ? like.empty_like() : Tensor(); };
    replay_.reset();
    finish_.reset();
    images_ = room(images);
    targets_ = room(targets);
    noise_.clear();
    for (const Tensor& map : noise) noise_.push_back(room(map));
    precision_ = precision();
    steps_ = 0;
    std::vector<Tensor> written;  // by a step: weights and running statistics
    for (const Autoencoder::Part& part : model_.encoders())
      for (const Entry& entry : part.encoder->entries()) written.push_back(entry.value);
    Backend& backend = images.backend();
    // Where nothing is recorded there is nothing to leave out either.
    const bool whole = together_ == nullptr || together_->records() || !backend.records();
    plain_ = nullptr;
    if (!whole && SyncedNorms::together() != nullptr)
      plain_ = [this] {
        result_ = training_step(model_, lpips_, adam_, images_, noise_, targets_, together_, bucket_bytes_);
      };
    if (whole) {
      replay_.emplace(
          backend,
          [this] {
            result_ =
                training_step(model_, lpips_, adam_, images_, noise_, targets_, together_, bucket_bytes_);
          },
          std::move(written));
    } else {
      replay_.emplace(
          backend, [this] { result_ = backward_step(model_, lpips_, adam_, images_, noise_, targets_); },
          written);
      finish_.emplace(
          backend, [this] { finish_step(result_, adam_); }, std::move(written));
    }
  }
  images_.assign(images);
  if (targets.defined()) targets_.assign(targets);
  for (std::size_t i = 0; i < noise.size(); ++i) noise_[i].assign(noise[i]);
}

StepResult Training::step(std::int64_t done, const Tensor& images, const Tensor& targets) {
  for (std::size_t g = 0; g < first_rates_.size(); ++g) adam_.set_lr(g, rate(g, done));
  std::vector<Tensor> noise;
  if (recipe_.random_noise) noise = model_.decoder().random_noise(1, random_);
  place(images, targets, noise);
  Backend& backend = images.backend();
  // A recording has memory of its own: what the first step left would lie beside it unused.
  if (steps_++ == 1 && backend.records()) backend.memory().release_cached();
  if (plain_) {
    plain_();
    return std::exchange(result_, {});
  }
  (*replay_)();
  if (finish_) {
    sum_over_ranks(result_, *together_, bucket_bytes_);
    (*finish_)();
  }
  return replay_->recorded() ? result_ : std::exchange(result_, {});
}

}  // namespace om
