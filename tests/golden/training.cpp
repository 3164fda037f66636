// Golden training: a few steps of the recipe from a given checkpoint on given images, run by the product's
// own stage, with every figure of the way checked: losses, gradient norms, the first reconstruction and
// gradients, final parameters and batch-norm statistics.
//
// Cases are the authors' (a `kind`, and `lr_to_noise` where the noise heads train apart) and ours
// (make_training.py), which also name `strategy` and `stage`, and LPIPS weights.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <sstream>

#include "tests/golden/golden_case.h"
#include "train/stage.h"

namespace om::golden {
namespace {

double number(const Case& c, const std::string& key) { return std::stod(c.metadata(key)); }

double largest_of(const std::vector<float>& values) {
  double largest = 0;
  for (const float value : values) largest = std::max(largest, std::abs(static_cast<double>(value)));
  return largest;
}

/// The settings of a run that the case is a part of.
TrainConfig config_of(const Case& c) {
  TrainConfig config;
  config.strategy = c.metadata_or("strategy", c.metadata("kind") == "two_stem" ? "two-networks" : "plain");
  config.iterations = std::stoll(c.metadata("T_max"));
  config.lr = number(c, "lr");
  config.lr_min = number(c, "eta_min");
  if (c.has_metadata("lr_to_noise")) config.lr_noise_heads = number(c, "lr_to_noise");
  if (c.has_metadata("backbone_rate")) config.backbone_rate = number(c, "backbone_rate");
  std::stringstream betas(c.metadata("betas"));
  char comma = 0;
  betas >> config.beta1 >> comma >> config.beta2;
  config.weight_decay = number(c, "weight_decay");
  config.clip_norm = number(c, "clip_norm");
  config.seed = std::stoll(c.metadata_or("seed", "0"));
  return config;
}

StageRecipe recipe_of(const Case& c) {
  const TrainConfig config = config_of(c);
  const int stage = std::stoi(c.metadata_or("stage", config.two_stages() ? "2" : "1"));
  StageRecipe recipe = stage_recipe(config, stage);
  // the authors' cases without a rate for the noise heads have one group
  if (!c.has_metadata("strategy") && !config.lr_noise_heads) recipe.rates.one_group = true;
  return recipe;
}

/// The reference gradients: within 1e-3 of the tensor's largest value or 1e-5 of the largest in the network.
/// A convolution's bias before a batch norm in train mode has no true gradient: roundoff alone stands there,
/// which the second bound covers.
void check_first_gradients(const Case& c, const std::string& prefix, const Adam& adam,
                           const std::vector<Tensor>& gradients) {
  double network = 0;
  for (const std::string& name : c.names())
    if (name.starts_with("first_grad.")) network = std::max(network, largest_of(to_f32(c.file_tensor(name))));
  std::size_t checked = 0;
  double worst = 0;
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    const std::string name = "first_grad." + prefix + adam.entry(i).name;
    EXPECT_EQ(c.has(name), gradients[i].defined()) << name;
    if (!c.has(name) || !gradients[i].defined()) continue;
    ++checked;
    const std::vector<float> reference = to_f32(c.file_tensor(name));
    const std::vector<float> actual = to_f32(to_file(gradients[i], adam.entry(i).layout));
    ASSERT_EQ(actual.size(), reference.size()) << name;
    const double bound = std::max(1e-3 * largest_of(reference), 1e-5 * network);
    for (std::size_t j = 0; j < actual.size(); ++j) {
      const double error = std::abs(static_cast<double>(actual[j]) - static_cast<double>(reference[j]));
      worst = std::max(worst, error / bound);
      ASSERT_LE(error, bound) << name << " [" << j << "]";
    }
  }
  EXPECT_GT(checked, 0U);
  std::cout << "  first gradients: " << checked << " tensors, worst at " << worst << " of its bound\n";
}

/// The first rate of a parameter's group, 0 where none trains it; names may be aliases, so the storage
/// identifies it.
double rate_of(const Tensor& parameter, const std::vector<ParameterGroup>& groups, const Training& training) {
  for (std::size_t g = 0; g < groups.size(); ++g)
    for (const Entry& entry : groups[g].parameters)
      if (entry.value.storage() == parameter.storage()) return training.rate(g, 0);
  return 0;
}

/// 99.9% of all elements within 1e-3 of their tensor's largest, and no parameter off by more than 2 lr steps;
/// one that nothing trains is as it was.
void check_final(const Case& c, const Autoencoder& model, Training& training, double steps) {
  std::size_t elements = 0, outside = 0;
  double worst = 0;
  for (const auto& [network, encoder] : model.encoders()) {
    for (const Entry& entry : encoder->entries(true)) {
      const std::string name = "final." + network + "." + entry.name;
      if (!c.has(name)) continue;
      const double lr = rate_of(entry.value, training.adam().groups(), training);
      const std::vector<float> reference = to_f32(c.file_tensor(name));
      const std::vector<float> actual = to_f32(to_file(entry.value, entry.layout));
      ASSERT_EQ(actual.size(), reference.size()) << name;
      const double bound = 1e-3 * largest_of(reference);
      for (std::size_t j = 0; j < actual.size(); ++j) {
        const double error = std::abs(static_cast<double>(actual[j]) - static_cast<double>(reference[j]));
        ++elements;
        outside += !(error <= bound);
        if (entry.role != Role::parameter) continue;
        worst = std::max(worst, error);
        ASSERT_LE(error, 2 * lr * steps) << name << " [" << j << "]";
      }
    }
  }
  std::cout << "  final: " << outside << " of " << elements << " elements outside, parameters off by at most "
            << worst << '\n';
  EXPECT_GT(elements, 0U);
  EXPECT_LE(static_cast<double>(outside), 1e-3 * static_cast<double>(elements));
}

/// |value / reference - 1| <= tolerance; the largest seen goes to `worst`.
void check_relative(const std::string& what, const Tensor& value, double reference, double tolerance,
                    double& worst) {
  const double error = std::abs(value.item() / reference - 1);
  EXPECT_LE(error, tolerance) << what << ": " << value.item() << ", the reference " << reference;
  worst = std::max(worst, error);
}

}  // namespace

void run_training(const Case& c, Backend& backend) {
  const std::string& kind = c.metadata("kind");
  ASSERT_TRUE(kind == "wplus" || kind == "z" || kind == "two_stem") << kind;
  const std::unique_ptr<Autoencoder> model = c.autoencoder(backend);
  std::unique_ptr<Lpips> lpips;
  if (c.has_metadata("lpips")) {
    const std::string file = c.beside("lpips");
    lpips = load_lpips(file, file, backend);
    lpips->set_trainable(false);
  }
  RandomSource random(static_cast<std::uint64_t>(config_of(c).seed), backend);
  Training training(*model, lpips.get(), recipe_of(c), random);
  const std::size_t groups = training.adam().groups().size();
  const std::string prefix = model->encoders().back().name + ".";  // of the network that trains

  const FileTensor& images = c.file_tensor("images");  // [steps, N, 3, H, W]
  const auto steps = static_cast<std::size_t>(images.shape[0]);
  const std::vector<float> pixels = to_f32(images);
  const std::size_t per_step = pixels.size() / steps;
  const Shape batch{images.shape[1], images.shape[2], images.shape[3], images.shape[4]};
  const std::vector<float> losses = to_f32(c.file_tensor("losses"));
  const std::vector<float> norms = to_f32(c.file_tensor("grad_norms_before_clip"));
  ASSERT_EQ(losses.size(), steps);
  ASSERT_EQ(norms.size(), steps * groups);
  double worst_loss = 0, worst_norm = 0;
  for (std::size_t i = 0; i < steps; ++i) {
    const std::span<const float> part(pixels.data() + i * per_step, per_step);
    const Tensor image = layouts::image.from_file(Tensor::from_host(part, batch, backend));
    const StepResult step = training.step(static_cast<std::int64_t>(i), image);
    if (i == 0) {
      expect_close(c, "first_reconstruction", step.reconstruction, 1e-4);
      check_first_gradients(c, prefix, training.adam(), step.gradients);
    }
    check_relative(text("loss of step ", i), step.loss, losses[i], 1e-5, worst_loss);
    for (std::size_t g = 0; g < groups; ++g)
      check_relative(text("norm of group ", g, " in step ", i), step.norms[g], norms[i * groups + g], 1e-4,
                     worst_norm);
  }
  std::cout << "  losses within " << worst_loss << ", gradient norms within " << worst_norm << " relative\n";
  check_final(c, *model, training, static_cast<double>(steps));
}

}  // namespace om::golden
