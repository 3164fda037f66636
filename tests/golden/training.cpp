// Golden training: a few steps of the authors' recipe from a given checkpoint on given images, with every
// figure of the way checked: losses, gradient norms, the first reconstruction and gradients, final parameters
// and batch-norm statistics.
#include <algorithm>
#include <cmath>
#include <iostream>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "nn/losses.h"
#include "tests/golden/golden_case.h"
#include "train/adam.h"
#include "train/schedule.h"

namespace om::golden {
namespace {

double number(const Case& c, const std::string& key) { return std::stod(c.metadata(key)); }

double largest_of(const std::vector<float>& values) {
  double largest = 0;
  for (const float value : values) largest = std::max(largest, std::abs(static_cast<double>(value)));
  return largest;
}

/// One group, or the noise heads in a group of their own where the case gives them a rate.
std::vector<ParameterGroup> groups_of(const Case& c, const Encoder& encoder) {
  const double lr = number(c, "lr");
  const std::string noise_lr = c.metadata_or("lr_to_noise", "");
  if (noise_lr.empty()) return {{"encoder", encoder.parameters(), lr}};
  ParameterGroup rest{"rest", {}, lr}, noise{"noise heads", {}, std::stod(noise_lr)};
  for (const Entry& entry : encoder.parameters())
    (entry.name.find("to_noise.") != std::string::npos ? noise : rest).parameters.push_back(entry);
  return {rest, noise};
}

/// The reference gradients: within 1e-3 of the tensor's largest value or 1e-5 of the largest in the network.
/// A convolution's bias before a batch norm in train mode has no true gradient: roundoff alone stands there,
/// which the second bound covers.
void check_first_gradients(const Case& c, const Adam& adam, const std::vector<Tensor>& gradients) {
  double network = 0;
  for (const std::string& name : c.names())
    if (name.starts_with("first_grad.")) network = std::max(network, largest_of(to_f32(c.file_tensor(name))));
  std::size_t checked = 0;
  double worst = 0;
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    const std::string name = "first_grad.encoder." + adam.entry(i).name;
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

/// The starting rate of a parameter's group; names may be aliases, so the storage identifies it.
double rate_of(const Tensor& parameter, const std::vector<ParameterGroup>& groups) {
  for (const ParameterGroup& group : groups)
    for (const Entry& entry : group.parameters)
      if (entry.value.storage() == parameter.storage()) return group.lr;
  fail("golden: a parameter that no group trains");
}

/// 99.9% of all elements within 1e-3 of their tensor's largest, and no parameter off by more than 2 lr steps.
void check_final(const Case& c, const Encoder& encoder, const std::vector<ParameterGroup>& groups,
                 double steps) {
  std::size_t elements = 0, outside = 0;
  double worst = 0;
  for (const Entry& entry : encoder.entries(true)) {
    const std::string name = "final.encoder." + entry.name;
    if (!c.has(name)) continue;
    const double lr = entry.role == Role::parameter ? rate_of(entry.value, groups) : 0;
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
  std::cout << "  final: " << outside << " of " << elements << " elements outside, parameters off by at most "
            << worst << '\n';
  EXPECT_GT(elements, 0U);
  EXPECT_LE(static_cast<double>(outside), 1e-3 * static_cast<double>(elements));
}

}  // namespace

void run_training(const Case& c, Backend& backend) {
  if (c.metadata("kind") != "wplus" && c.metadata("kind") != "z")
    GTEST_SKIP() << "training of kind " << c.metadata("kind") << " is not built yet";
  const Checkpoint checkpoint = read_checkpoint(c.checkpoint());
  bool known_decoder = false;
  for (const auto& [name, tensor] : checkpoint.tensors)
    known_decoder = known_decoder || name.ends_with("convs.0.conv.weight");
  if (!known_decoder) GTEST_SKIP() << "training with this decoder is not built yet";

  Model model =
      load_model(checkpoint, backend, c.metadata("kind") == "z" ? Projection::z : Projection::wplus);
  ASSERT_TRUE(model.encoder && model.decoder);
  const Autoencoder autoencoder(std::move(model.encoder), std::move(model.decoder));
  Encoder& encoder = autoencoder.encoder();
  encoder.set_training(true);
  encoder.set_trainable(true);
  const std::vector<ParameterGroup> groups = groups_of(c, encoder);
  Adam adam(groups, AdamOptions{.beta1 = 0.5,
                                .beta2 = 0.999,
                                .eps = 1e-8,
                                .weight_decay = number(c, "weight_decay"),
                                .clip_norm = number(c, "clip_norm")});

  const FileTensor& images = c.file_tensor("images");  // [steps, N, 3, H, W]
  const auto steps = static_cast<std::size_t>(images.shape[0]);
  const std::vector<float> pixels = to_f32(images);
  const std::size_t per_step = pixels.size() / steps;
  const Shape batch{images.shape[1], images.shape[2], images.shape[3], images.shape[4]};
  const std::vector<float> losses = to_f32(c.file_tensor("losses"));
  const std::vector<float> norms = to_f32(c.file_tensor("grad_norms_before_clip"));
  double worst_loss = 0, worst_norm = 0;
  for (std::size_t step = 0; step < steps; ++step) {
    const std::span<const float> part(pixels.data() + step * per_step, per_step);
    const Tensor image = layouts::image.from_file(Tensor::from_host(part, batch, backend));
    const Tensor reconstruction = autoencoder(image);
    if (step == 0) expect_close(c, "first_reconstruction", reconstruction.detach(), 1e-4);
    const Tensor loss = sum_of_mse(reconstruction, image);
    const std::vector<Tensor> gradients = grad({loss}, adam.parameters(), {.allow_unused = true});
    if (step == 0) check_first_gradients(c, adam, gradients);
    for (std::size_t group = 0; group < groups.size(); ++group) {
      const CosineSchedule schedule{groups[group].lr, number(c, "eta_min"), std::stoll(c.metadata("T_max"))};
      adam.set_lr(group, schedule.at(static_cast<std::int64_t>(step)));
    }
    const std::vector<Tensor> norm = adam.step(gradients);
    worst_loss = std::max(worst_loss, std::abs(loss.item() / static_cast<double>(losses[step]) - 1));
    for (std::size_t group = 0; group < groups.size(); ++group)
      worst_norm = std::max(
          worst_norm,
          std::abs(norm[group].item() / static_cast<double>(norms[step * groups.size() + group]) - 1));
  }
  std::cout << "  losses within " << worst_loss << ", gradient norms within " << worst_norm << " relative\n";
  EXPECT_LE(worst_loss, 1e-5);
  EXPECT_LE(worst_norm, 1e-4);
  check_final(c, encoder, groups, static_cast<double>(steps));
}

}  // namespace om::golden
