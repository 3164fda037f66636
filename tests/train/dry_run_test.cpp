// What a dry run says of a run's memory and work, against what the run itself takes.
#include "train/dry_run.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "autograd/ops.h"
#include "io/model_file.h"
#include "models/stylegan2.h"
#include "nn/initial.h"
#include "tensor/registry.h"
#include "tests/harness/ranks.h"
#include "tests/train/queued_backend.h"
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
  double predicted_over_measured(const std::string& name, Backend& on = backend("cpu")) {
    CachingAllocator& memory = on.memory();
    std::size_t predicted = 0;
    for (const MemoryPlan& plan : plan_training(run_.config, on))
      predicted = std::max(predicted, plan.peak());
    memory.release_cached();
    memory.reset_peak();
    const std::size_t before = memory.statistics().live_bytes;
    TrainOptions options;
    options.out = run_.out(name);
    train(run_.config, options, on);
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
    EXPECT_NEAR(predicted_over_measured(text("batch", batch)), 1, 0.02);
  }
}

TEST_F(DryRun, PeakWithAPerceptualLoss) {
  run_.add_lpips(32);
  for (const std::int64_t batch : {1, 4}) {
    run_.config.batch = batch;
    EXPECT_NEAR(predicted_over_measured(text("lpips", batch)), 1, 0.02);
  }
}

TEST_F(DryRun, PeakOfTwoStages) {
  for (const char* strategy : {"two-networks", "learning-rate"}) {
    run_.set_strategy(strategy);
    EXPECT_NEAR(predicted_over_measured(strategy), 1, 0.02);
  }
}

TEST_F(DryRun, PeakWithoutValidation) {
  run_.config.val = "";
  EXPECT_NEAR(predicted_over_measured("no val"), 1, 0.02);
  EXPECT_EQ(plan_training(run_.config, backend("cpu")).front().validation_peak, 0U);
}

TEST_F(DryRun, PeakOfARunThatRecomputes) {
  run_.config.batch = 8;
  const std::size_t keeping = plan_training(run_.config, backend("cpu")).front().step_peak;
  run_.config.checkpoint_activations = true;
  EXPECT_NEAR(predicted_over_measured("recompute"), 1, 0.02);
  EXPECT_LT(static_cast<double>(plan_training(run_.config, backend("cpu")).front().step_peak),
            0.75 * static_cast<double>(keeping));
}

/// On a device steps and validation are recorded, each in memory of its own.
TEST_F(DryRun, PeakOfARunThatRecords) {
  for (const std::int64_t batch : {1, 8}) {
    QueuedBackend card(true);
    run_.config.batch = batch;
    EXPECT_NEAR(predicted_over_measured(text("recorded", batch), card), 1, 0.02);
    EXPECT_GT(card.replays, 0);
    const MemoryPlan plan = plan_training(run_.config, card).front();
    EXPECT_FALSE(plan.scratch_known);
    EXPECT_GE(plan.held, plan.step_peak);
  }
}

/// A recording keeps its memory, beside what the first step left.
TEST_F(DryRun, HeldMemoryHoldsARecording) {
  run_.config.val = "";
  run_.config.batch = 4;
  QueuedBackend card(true);
  const MemoryPlan plan = plan_training(run_.config, card).front();
  std::size_t held = 0;
  TrainOptions options;
  options.out = run_.out("held");
  options.after_step = [&](const StepReport& step) {
    const MemoryStatistics now = card.memory().statistics();
    if (step.iteration == step.iterations) held = now.live_bytes + now.cached_bytes;
  };
  train(run_.config, options, card);
  std::printf("%.2f MiB held as planned, %.2f measured, %.2f handed out at one time\n",
              static_cast<double>(plan.held) / (1 << 20), static_cast<double>(held) / (1 << 20),
              static_cast<double>(plan.step_peak) / (1 << 20));
  EXPECT_NEAR(static_cast<double>(plan.held) / static_cast<double>(held), 1, 0.02);
}

/// What a plan says adds up, and says of one more picture what that picture takes.
TEST_F(DryRun, PartsOfThePeak) {
  std::vector<MemoryPlan> plans;
  for (const std::int64_t batch : {1, 2, 3}) {
    run_.config.batch = batch;
    plans.push_back(plan_training(run_.config, backend("cpu")).front());
    const MemoryPlan& p = plans.back();
    for (const std::size_t part : {p.trained, p.frozen, p.optimiser, p.activations})
      EXPECT_GT(part, std::size_t{10'000});
    EXPECT_LE(p.trained + p.frozen + p.optimiser + p.activations, p.step_peak);
    EXPECT_TRUE(p.scratch_known);
    EXPECT_EQ(p.stage, 1);
    EXPECT_EQ(p.trained, plans.front().trained);
  }
  EXPECT_NEAR(static_cast<double>(plans[2].activations), 3 * static_cast<double>(plans[0].activations),
              0.1 * static_cast<double>(plans[2].activations));
  EXPECT_NEAR(plans[2].step.flops / plans[0].step.flops, 3, 0.05);
  // moments: two for each weight that is trained
  EXPECT_NEAR(static_cast<double>(plans[0].optimiser), 2 * static_cast<double>(plans[0].trained),
              0.35 * static_cast<double>(plans[0].optimiser));
}

TEST_F(DryRun, PeakInBfloat16) {
  run_.config.precision = "bf16";
  EXPECT_NEAR(predicted_over_measured("bf16"), 1, 0.02);
}

TEST_F(DryRun, PeakOnSeveralThreads) {
  set_threads(2);
  EXPECT_NEAR(predicted_over_measured("threads"), 1, 0.02);
  set_threads(1);
}

TEST_F(DryRun, PeakOfADenoiser) {
  run_.config.task = "denoise";
  EXPECT_NEAR(predicted_over_measured("denoise"), 1, 0.02);
}

/// Counts the bytes that go through it to sums.
class Counted final : public Communicator {
 public:
  explicit Counted(Communicator& inner) : Communicator(inner.rank(), inner.size()), inner_(inner) {}
  std::string description() const override { return inner_.description(); }
  bool records() const override { return inner_.records(); }
  void all_reduce(const std::vector<Tensor>& arrays) override {
    for (const Tensor& array : arrays)
      bytes += static_cast<std::size_t>(array.elements()) * size_of(array.dtype());
    inner_.all_reduce(arrays);
  }
  void broadcast(const std::vector<Tensor>& arrays, int root) override { inner_.broadcast(arrays, root); }
  void join() override { inner_.join(); }
  void barrier() override { inner_.barrier(); }
  std::size_t bytes = 0;

 private:
  Communicator& inner_;
};

/// A rank of several takes the memory that is said of it, and gives to sums as many bytes.
TEST_F(DryRun, OneOfSeveralRanks) {
#ifndef ONEMODEL_HAS_GLOO
  GTEST_SKIP() << "this build has no Gloo (libgloo-dev)";
#endif
  for (const bool synced : {false, true}) {
    run_.config.sync_batch_norm = synced;
    run_.config.batch = synced ? 2 : 4;
    if (synced) run_.config.val = "";  // which takes as much as a step
    QueuedBackend first(true), second(true);
    const MemoryPlan plan = plan_training(run_.config, first, 2).front();
    EXPECT_EQ(plan.ranks, 2);
    EXPECT_EQ(plan.copies, 0U);  // they lie on the host
    std::size_t bytes[2] = {};
    EXPECT_EQ(trouble_on_ranks(2,
                               [&](ranks::Member& member) {
                                 Backend& card = member.rank() == 0 ? first : second;
                                 const auto gloo = make_communicator(card, &member);
                                 Counted together(*gloo);
                                 TrainOptions options;
                                 options.out = run_.out(text("ranks", synced));
                                 options.member = &member;
                                 options.together = &together;
                                 train(run_.config, options, card);
                                 bytes[member.rank()] = together.bytes;
                               }),
              "");
    for (const std::size_t given : bytes)
      EXPECT_EQ(given, plan.summed() * static_cast<std::size_t>(run_.config.iterations));
    const std::size_t measured = first.memory().statistics().peak_bytes;
    std::printf("%.2f MiB predicted, %.2f measured\n", static_cast<double>(plan.peak()) / (1 << 20),
                static_cast<double>(measured) / (1 << 20));
    EXPECT_NEAR(static_cast<double>(plan.peak()) / static_cast<double>(measured), 1, 0.02);
  }
}

/// Validation is shared out, the leak figure at a run's end is rank 0's.
TEST_F(DryRun, ARankValidatesItsShare) {
  run_.set_strategy("two-networks");
  Backend& cpu = backend("cpu");
  const std::vector<MemoryPlan> alone = plan_training(run_.config, cpu),
                                one_of_two = plan_training(run_.config, cpu, 2);
  EXPECT_LT(one_of_two.front().validation_peak, alone.front().validation_peak);  // one picture, or two
  EXPECT_EQ(one_of_two.back().validation_peak, alone.back().validation_peak);
}

/// Between processors a sum travels as a copy, one at a time.
TEST_F(DryRun, CopiesOfSumsBetweenProcessors) {
  const MemoryPlan alone = plan_training(run_.config, backend("cpu")).front();
  EXPECT_TRUE(alone.sums.empty());
  EXPECT_EQ(alone.summed(), 0U);
  const MemoryPlan plan = plan_training(run_.config, backend("cpu"), 3).front();
  ASSERT_FALSE(plan.sums.empty());
  EXPECT_EQ(plan.copies, *std::max_element(plan.sums.begin(), plan.sums.end()));
  EXPECT_GE(plan.peak(), plan.step_peak + plan.copies);
}

/// As a card: what is allocated in a recording comes from no other's memory, and stays the recording's.
TEST(DryDevice, RecordsInMemoryOfItsOwn) {
  QueuedBackend card(true);
  const std::unique_ptr<Backend> dry = dry_backend(card);
  const auto taken = [&] { return dry->memory().statistics().raw_allocations; };
  const auto room = [&] { return Tensor::zeros({1 << 20}, DType::f32, *dry); };
  room();  // there to be used again
  EXPECT_EQ(taken(), 1U);
  ASSERT_TRUE(dry->begin_capture());
  room();
  EXPECT_EQ(taken(), 2U);
  std::unique_ptr<CapturedGraph> graph = dry->end_capture();
  graph->replay();
  const Tensor first = room(), second = room();
  EXPECT_EQ(taken(), 3U);
  graph.reset();
  EXPECT_FALSE(dry_backend(backend("cpu"))->begin_capture());
  QueuedBackend plain(false);  // has memory of its own and records nothing all the same
  EXPECT_FALSE(dry_backend(plain)->begin_capture());
}

}  // namespace
}  // namespace om::test
