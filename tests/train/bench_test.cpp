// The benchmark's own rows: what they hold, and what it refuses to time.
#include "train/bench.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "tensor/registry.h"
#include "tests/train/queued_backend.h"
#include "tests/train/tiny_run.h"
#include "train/made_model.h"
#include "train/training_step.h"

namespace om::test {
namespace {

constexpr MadeModel kTiny{.size = 16, .width = 1.0 / 64, .encoder_width = 0.5};

BenchNetworks tiny(bool lpips = false) {
  BenchNetworks networks;
  networks.model = [](Backend& b) {
    RandomSource random(1, b);
    return make_autoencoder(kTiny, random, b);
  };
  if (lpips)
    networks.lpips = [](Backend& b) {
      RandomSource random(2, b);
      return make_lpips_vgg(random, b);
    };
  return networks;
}

double sum_of_parts(const BenchRow& row, double Work::*what) {
  double sum = 0;
  for (const BenchPart& part : row.parts) sum += part.work.*what;
  return sum;
}

std::vector<std::string> names_of(const BenchRow& row) {
  std::vector<std::string> names;
  for (const BenchPart& part : row.parts) names.push_back(part.name);
  return names;
}

void expect_times(const BenchPart& part) {
  EXPECT_GT(part.time.least, 0) << part.name;
  EXPECT_LE(part.time.least, part.time.median) << part.name;
  EXPECT_LE(part.time.median, part.time.most) << part.name;
  EXPECT_LT(part.time.most, 60) << part.name;
}

class BenchTest : public testing::Test {
 protected:
  BenchTest() { set_threads(1); }
  Backend& cpu_ = backend("cpu");
};

TEST_F(BenchTest, Reconstruction) {
  Bench bench(tiny(), cpu_, 0, 3, false);
  const BenchRow one = bench.reconstruct(Precision::fp32, 1), four = bench.reconstruct(Precision::fp32, 4);
  EXPECT_EQ(one.task, "reconstruct");
  EXPECT_EQ(four.batch, 4);
  EXPECT_EQ(names_of(one), (std::vector<std::string>{"encoder", "decoder", "input"}));
  for (const BenchRow* row : {&one, &four}) {
    expect_times(row->whole);
    for (const BenchPart& part : row->parts) expect_times(part);
    EXPECT_DOUBLE_EQ(sum_of_parts(*row, &Work::flops), row->whole.work.flops);
    EXPECT_GT(row->whole.work.bytes, 0);
    EXPECT_GT(row->peak, 0U);
    EXPECT_GE(row->held, row->peak);
    EXPECT_FALSE(row->replayed);
    EXPECT_TRUE(row->profile.empty());
  }
  // the modulated weights' sums aside, work is by image
  EXPECT_NEAR(four.whole.work.flops / one.whole.work.flops, 4, 0.01);
}

TEST_F(BenchTest, Training) {
  Bench bench(tiny(true), cpu_, 0, 2, false);
  const BenchRow row = bench.train(Precision::fp32, 2);
  EXPECT_EQ(row.task, "train");
  EXPECT_EQ(names_of(row), (std::vector<std::string>{"encoder", "decoder", "loss", "optimiser", "input"}));
  expect_times(row.whole);
  EXPECT_NEAR(sum_of_parts(row, &Work::flops) / row.whole.work.flops, 1, 1e-3);
  const double forward = bench.reconstruct(Precision::fp32, 2).whole.work.flops;
  EXPECT_GT(row.whole.work.flops, 2.5 * forward);
  Bench plain(tiny(), cpu_, 0, 2, false);
  EXPECT_EQ(plain.lpips(), nullptr);
  EXPECT_LT(plain.train(Precision::fp32, 2).whole.work.flops, 0.5 * row.whole.work.flops);
}

TEST_F(BenchTest, TheFullSizesWorkIsThePublishedOne) {
  const std::unique_ptr<Backend> dry = dry_backend(cpu_);
  RandomSource random(0, *dry);
  const auto model = make_autoencoder({}, random, *dry);
  const NoGrad off;
  model->set_training(false);
  const Tensor x = Tensor::zeros({1, 256, 256, 3}, DType::f32, *dry);
  const Work before = dry->extension<WorkMeter>()->work();
  (*model)(x);
  EXPECT_NEAR(1e-9 * (dry->extension<WorkMeter>()->work() - before).flops, 313, 1);  // issue 13's table
}

TEST_F(BenchTest, ProfileByOp) {
  Bench bench(tiny(), cpu_, 0, 2, true);
  const BenchRow row = bench.train(Precision::fp32, 1);
  ASSERT_FALSE(row.profile.empty());
  std::map<std::pair<std::string, Pass>, OpRow> table;
  double flops = 0, last = std::numeric_limits<double>::infinity();
  for (const OpRow& op : row.profile) {
    EXPECT_TRUE((table.emplace(std::pair(op.op, op.pass), op).second)) << op.op << " stands twice";
    EXPECT_GT(op.calls, 0) << op.op;
    EXPECT_GE(op.seconds, 0) << op.op;
    EXPECT_LE(op.seconds, last) << op.op;
    last = op.seconds;
    flops += op.flops;
  }
  EXPECT_DOUBLE_EQ(flops, row.whole.work.flops);
  for (const Pass pass : {Pass::forward, Pass::backward}) {
    ASSERT_TRUE(table.contains({"conv2d", pass}));
    EXPECT_GT(table.at({"conv2d", pass}).flops, 0);
  }
  EXPECT_EQ(table.at({"adam", Pass::forward}).calls, 1);
}

/// As on a card: everything that records is recorded, once, and nothing reads or waits meanwhile.
TEST_F(BenchTest, OnABackendThatRecords) {
  QueuedBackend card(true);
  Bench bench(tiny(true), card, 0, 2, true), on_cpu(tiny(true), cpu_, 0, 2, true);
  for (const bool train : {false, true}) {
    const auto run = [&](Bench& b) {
      return train ? b.train(Precision::bf16, 2) : b.reconstruct(Precision::bf16, 2);
    };
    const int before = card.recordings;
    const BenchRow row = run(bench), other = run(on_cpu);
    EXPECT_TRUE(row.replayed) << row.task;
    EXPECT_EQ(card.recordings - before, train ? 5 : 3) << row.task;  // all but the input's way
    EXPECT_EQ(row.whole.work.flops, other.whole.work.flops) << row.task;
    ASSERT_EQ(row.parts.size(), other.parts.size());
    for (std::size_t i = 0; i < row.parts.size(); ++i)
      EXPECT_EQ(row.parts[i].work.flops, other.parts[i].work.flops) << row.task << " " << row.parts[i].name;
    EXPECT_FALSE(row.profile.empty());
    EXPECT_GT(row.held, row.peak);
  }
}

TEST_F(BenchTest, OtherOpsInTheDryRunAreAnError) {
  const std::unique_ptr<Backend> dry = dry_backend(cpu_);
  const auto body = [](Backend& b, int calls) {
    return [&b, calls] {
      for (int i = 0; i < calls; ++i) exp(Tensor::zeros({4}, DType::f32, b));
    };
  };
  WorkMeter& meter = *dry->extension<WorkMeter>();
  EXPECT_EQ(profile_ops(cpu_, body(cpu_, 2), meter, body(*dry, 2)).at(0).calls, 2);
  EXPECT_THROW(profile_ops(cpu_, body(cpu_, 2), meter, body(*dry, 1)), Error);
  EXPECT_THROW(profile_ops(
                   cpu_, [] {}, meter, body(*dry, 1)),
               Error);
}

TEST_F(BenchTest, NumbersThatMeanNothingAreRefused) {
  for (const double value : {std::nan(""), 0.0}) {
    BenchNetworks networks = tiny();
    networks.model = [value](Backend& b) {
      RandomSource random(1, b);
      auto model = make_autoencoder(kTiny, random, b);
      for (const Entry& entry : model->decoder().parameters()) entry.value.fill(value);
      return model;
    };
    Bench bench(networks, cpu_, 0, 1, false);
    const std::string said = message<Error>([&] { bench.reconstruct(Precision::fp32, 1); });
    EXPECT_TRUE(contains(said, value == 0 ? "nothing but zeros" : "not finite")) << said;
  }
}

TEST_F(BenchTest, PeaksOfTheMachine) {
  const MachinePeaks peaks = measure_peaks(cpu_, Precision::fp32, 2);
  EXPECT_GT(peaks.flops, 1e8);
  EXPECT_LT(peaks.flops, 1e15);
  EXPECT_GT(peaks.bytes, 1e8);
  EXPECT_LT(peaks.bytes, 1e14);
}

TEST_F(BenchTest, SizesAndWidths) {
  const std::unique_ptr<Backend> dry = dry_backend(cpu_);
  RandomSource random(1, *dry);
  const auto full = make_autoencoder({}, random, *dry);
  EXPECT_EQ(full->decoder().channels(), (std::vector<std::int64_t>{512, 512, 512, 512, 512, 256, 128}));
  EXPECT_EQ(full->encoder().config().channels,
            (std::vector<std::int64_t>{128, 256, 512, 512, 512, 512, 512}));
  EXPECT_EQ(make_autoencoder(kTiny, random, *dry)->decoder().channels(),
            (std::vector<std::int64_t>{8, 8, 8}));
  for (const MadeModel& shape :
       {MadeModel{.size = 48}, MadeModel{.size = 4}, MadeModel{.size = 2048}, MadeModel{.width = 0},
        MadeModel{.width = std::nan("")}, MadeModel{.encoder_width = -1}})
    EXPECT_THROW(make_autoencoder(shape, random, *dry), UsageError);
}

}  // namespace
}  // namespace om::test
