// What a dry run says of a run's memory and work, against what the run itself takes.
#include "train/dry_run.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "autograd/ops.h"
#include "io/model_file.h"
#include "models/stylegan2.h"
#include "nn/initial.h"
#include "tensor/registry.h"
#include "tests/train/tiny_run.h"
#include "train/made_model.h"

namespace om::test {
namespace {

/// A run of which activations take more than weights, as in real ones.
class DryRun : public testing::Test {
 protected:
  DryRun() {
    Backend& cpu = backend("cpu");
    RandomSource random(3, cpu);
    MadeModel shape;
    shape.size = 64;
    shape.width = 0.0625;
    const auto made = make_autoencoder(shape, random, cpu);
    save_autoencoder(run_.folder() / "model.safetensors", *made);
    run_.config.generator = run_.folder() / "model.safetensors";
    run_.config.iterations = 3;
  }

  /// The largest of the stages' peaks over that of the run, which also samples and validates.
  double predicted_over_measured(const std::string& name) {
    Backend& cpu = backend("cpu");
    CachingAllocator& memory = cpu.memory();
    std::size_t predicted = 0;
    for (const MemoryPlan& plan : plan_training(run_.config, cpu)) predicted = std::max(predicted, plan.peak);
    memory.release_cached();
    memory.reset_peak();
    const std::size_t before = memory.statistics().live_bytes;
    run_.run(name);
    const std::size_t measured = memory.statistics().peak_bytes - before;
    std::printf("%s: %.2f MiB predicted, %.2f measured\n", name.c_str(),
                static_cast<double>(predicted) / (1 << 20), static_cast<double>(measured) / (1 << 20));
    return static_cast<double>(predicted) / static_cast<double>(measured);
  }

  TinyRun run_;
};

TEST_F(DryRun, PeakOfARun) {
  for (const std::int64_t batch : {1, 4, 8}) {
    run_.config.batch = batch;
    EXPECT_NEAR(predicted_over_measured(text("batch", batch)), 1, 0.05);
  }
}

TEST_F(DryRun, PeakWithAPerceptualLoss) {
  run_.config.lpips = run_.config.lpips_heads = "";
  run_.add_lpips();
  for (const std::int64_t batch : {1, 4}) {
    run_.config.batch = batch;
    EXPECT_NEAR(predicted_over_measured(text("lpips", batch)), 1, 0.05);
  }
}

TEST_F(DryRun, PeakOfTwoStages) {
  for (const char* strategy : {"two-networks", "learning-rate"}) {
    run_.set_strategy(strategy);
    EXPECT_NEAR(predicted_over_measured(strategy), 1, 0.05);
  }
}

TEST_F(DryRun, PeakInBfloat16) {
  run_.config.precision = "bf16";
  EXPECT_NEAR(predicted_over_measured("bf16"), 1, 0.05);
}

TEST_F(DryRun, PeakOnSeveralThreads) {
  set_threads(2);
  EXPECT_NEAR(predicted_over_measured("threads"), 1, 0.05);
  set_threads(1);
}

TEST_F(DryRun, PeakOfADenoiser) {
  run_.config.task = "denoise";
  EXPECT_NEAR(predicted_over_measured("denoise"), 1, 0.05);
}

}  // namespace
}  // namespace om::test
