// --checkpoint-activations: the same run in less memory.
#include <gtest/gtest.h>

#include <iostream>

#include "autograd/recompute.h"
#include "io/model_file.h"
#include "tensor/registry.h"
#include "tests/train/tiny_run.h"
#include "train/stage.h"
#include "train/start.h"

namespace om {
namespace {

using test::difference;
using test::files_of;
using test::TinyRun;

TEST(SavedMemory, EndsInTheSameBytes) {
  for (const char* strategy : {"plain", "two-networks", "learning-rate", "bf16"}) {
    SCOPED_TRACE(strategy);
    TinyRun tiny;
    if (strategy == std::string("bf16")) {
      tiny.config.precision = strategy;
      strategy = "plain";
    }
    tiny.add_lpips();
    if (strategy != std::string("plain")) tiny.set_strategy(strategy);
    tiny.run("plain");
    tiny.config.checkpoint_activations = true;
    tiny.run("saved");
    auto plain = files_of(tiny.out("plain")), saved = files_of(tiny.out("saved"));
    for (auto* files : {&plain, &saved}) files->erase("config.json");
    EXPECT_EQ(difference(plain, saved), "");
  }
}

/// Peak of the step over what was there before it, loss, gradients and the encoder afterwards.
struct Step {
  std::size_t peak = 0;
  std::vector<std::vector<float>> numbers;
};

Step step_of(bool saved) {
  TinyRun tiny;
  tiny.add_lpips();
  tiny.config.encoder_width = 2;
  Backend& cpu = backend("cpu");
  RandomSource random(1, cpu);
  const auto model = make_model(tiny.config, random, cpu);
  const auto lpips = load_lpips(tiny.config.lpips, tiny.config.lpips_heads, cpu);
  lpips->set_trainable(false);
  Training training(*model, lpips.get(), stage_recipe(tiny.config, 1), random);
  const Tensor images = random.uniform({16, 16, 16, 3});
  const RecomputeScope scope(saved);
  cpu.memory().reset_peak();
  const std::size_t before = cpu.memory().statistics().live_bytes;
  const StepResult result = training.step(0, images);
  Step step{cpu.memory().statistics().peak_bytes - before, {result.loss.to_host<float>()}};
  for (const Tensor& g : result.gradients)
    step.numbers.push_back(g.defined() ? g.to_host<float>() : std::vector<float>());
  for (const Entry& entry : model->encoder().entries())
    if (entry.value.dtype() == DType::f32) step.numbers.push_back(entry.value.to_host<float>());
  return step;
}

TEST(SavedMemory, IsSaved) {
  const Step plain = step_of(false), saved = step_of(true);
  std::cout << "  a step's peak: " << plain.peak << " bytes, recomputing " << saved.peak << '\n';
  EXPECT_LT(static_cast<double>(saved.peak), 0.75 * static_cast<double>(plain.peak));
  EXPECT_EQ(saved.numbers, plain.numbers);
}

}  // namespace
}  // namespace om
