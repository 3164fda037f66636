// Steps that are recorded and replayed, and values that are read while later steps run: the same bytes as
// step by step, and nothing is kept or shown of a step before its value was looked at. On a backend that
// queues and records (tests/train/queued_backend.h), so that it needs no card.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <set>
#include <sstream>

#include "tensor/registry.h"
#include "tests/train/queued_backend.h"
#include "tests/train/tiny_run.h"
#include "train/run_settings.h"
#include "train/stage.h"
#include "train/start.h"
#include "train/step_reports.h"

namespace om {
namespace {

using test::contains;
using test::difference;
using test::files_of;
using test::message;
using test::QueuedBackend;
using test::StopAfter;
using test::TinyRun;

std::size_t lines_with(const std::string& text, const std::string& part) {
  std::istringstream lines(text);
  std::size_t found = 0;
  for (std::string line; std::getline(lines, line);) found += contains(line, part);
  return found;
}

class ReplayedRun : public testing::TestWithParam<const char*> {
 protected:
  ReplayedRun() {
    const std::string what = GetParam();
    if (what == "lpips") {
      tiny_.add_lpips();
    } else if (what == "bf16") {
      tiny_.config.precision = what;
    } else if (what == "z") {
      tiny_.config.latent = what;
    } else if (what == "stylegan1") {
      tiny_.use_stylegan1();
    } else if (what == "denoise") {
      tiny_.config.task = "denoise";
    } else if (what != "plain") {
      tiny_.set_strategy(what);
    }
    if (!tiny_.config.two_stages()) tiny_.config.iterations = 7;
  }
  TinyRun tiny_;
};

TEST_P(ReplayedRun, EndsInTheBytesOfOneStepByStep) {
  QueuedBackend eager(false), recording(true);
  tiny_.device = &eager;
  tiny_.run("eager");
  tiny_.device = &recording;
  const TrainResult result = tiny_.run("recorded");
  EXPECT_EQ(difference(files_of(tiny_.out("eager")), files_of(tiny_.out("recorded"))), "");
  const int stages = tiny_.config.two_stages() ? 2 : 1;
  EXPECT_EQ(recording.recordings, stages);
  EXPECT_EQ(recording.replays, static_cast<int>(result.iteration) - stages);  // all but each stage's first
  EXPECT_EQ(eager.recordings, 0);
}

// The resumed run's first step is the one that a run left alone replays.
TEST_P(ReplayedRun, StoppedAndResumedEndsInTheSameBytes) {
  QueuedBackend device(true);
  tiny_.device = &device;
  tiny_.run("whole");
  const auto whole = files_of(tiny_.out("whole"));
  for (int step = 1; step <= 5; ++step) {
    const std::string name = "stopped" + std::to_string(step);
    StopAfter stop(step);
    EXPECT_TRUE(tiny_.run(name, false, stop.options).interrupted);
    EXPECT_FALSE(tiny_.run(name, true).interrupted);
    EXPECT_EQ(difference(whole, files_of(tiny_.out(name))), "") << "stopped after " << step;
  }
}

// As a killed one does: without a checkpoint, and with steps whose values nobody has seen.
TEST_P(ReplayedRun, BrokenOffAndResumedEndsInTheSameBytes) {
  QueuedBackend device(true);
  tiny_.device = &device;
  tiny_.run("whole");
  const auto whole = files_of(tiny_.out("whole"));
  for (int step = 1; step <= 6; ++step) {
    const std::string name = "broken" + std::to_string(step);
    TrainOptions options;
    options.after_step = [&](const StepReport& report) {
      if (report.iteration == step) fail("broken off");
    };
    EXPECT_EQ(message<Error>([&] { tiny_.run(name, false, options); }), "broken off");
    EXPECT_FALSE(tiny_.run(name, true).interrupted);
    EXPECT_EQ(difference(whole, files_of(tiny_.out(name))), "") << "broken off after " << step;
  }
}

INSTANTIATE_TEST_SUITE_P(All, ReplayedRun,
                         testing::Values("plain", "lpips", "bf16", "z", "stylegan1", "denoise",
                                         "two-networks", "learning-rate"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::erase(name, '-');
                           return name;
                         });

/// A run without anything to show or to keep before its end.
struct QuietRun : TinyRun {
  QuietRun(Backend& where, std::int64_t iterations) {
    device = &where;
    config.iterations = iterations;
    config.checkpoint_every = config.sample_every = 1000;
    config.val.clear();
  }
};

// Where a run's backend is to keep what it chooses, while it runs.
TEST(ReplayedSteps, ChoicesLieInTheRunsFolder) {
  TinyRun tiny;
  set_plan_folder("before");
  std::set<std::string> folders;
  TrainOptions options;
  options.after_step = [&](const StepReport&) { folders.insert(plan_folder()); };
  tiny.run("run", false, options);
  EXPECT_EQ(folders, std::set{tiny.out("run") + "/plans"});
  EXPECT_EQ(plan_folder(), "before");
  tiny.config.lr = 1e30;
  EXPECT_THROW(tiny.run("broken"), Error);
  EXPECT_EQ(plan_folder(), "before");
  set_plan_folder("");
  EXPECT_FALSE(std::filesystem::exists(tiny.out("run") + "/plans"));  // a processor chooses nothing
}

// Beside a device the processor is free to decode.
TEST(ReplayedSteps, ImagesAreReadByMoreThreadsBesideADevice) {
  QueuedBackend device(true);
  const TrainConfig config;
  set_threads(12);
  EXPECT_EQ(loader_options(config, 16, 0, device).threads, 6);
  EXPECT_EQ(loader_options(config, 16, 0, backend("cpu")).threads, 2);
  EXPECT_EQ(loader_options(config, 16, 3, device).threads, 3);
  set_threads(64);
  EXPECT_EQ(loader_options(config, 16, 0, device).threads, 8);
  set_threads(1);
  EXPECT_EQ(loader_options(config, 16, 0, device).threads, 2);
}

TEST(ReplayedSteps, WaitForNoValue) {
  QueuedBackend device(true);
  QuietRun(device, 4).run("run");
  const int before = device.early_reads;
  QuietRun(device, 4).run("run");
  const int once = device.early_reads - before;
  QuietRun(device, 24).run("run");
  EXPECT_EQ(device.early_reads - before - once, once);  // nobody waited in the twenty more steps
  // those of the steps, of which one more is added before the oldest is waited for, and of the uploads
  EXPECT_EQ(device.most_reads, StepReports::kMostAhead + 1 + 3);
}

TEST(ReplayedSteps, AreReportedInTheirOrder) {
  QueuedBackend device(true);
  QuietRun tiny(device, 9);
  std::vector<std::int64_t> reported;
  std::vector<double> losses;
  TrainOptions options;
  options.after_step = [&](const StepReport& report) {
    reported.push_back(report.iteration);
    losses.push_back(report.loss);
  };
  tiny.run("run", false, options);
  EXPECT_EQ(reported, (std::vector<std::int64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9}));
  std::istringstream lines(files_of(tiny.out("run")).at("metrics.jsonl"));
  std::size_t n = 0;
  for (std::string line; std::getline(lines, line); ++n) {
    ASSERT_LT(n, losses.size());
    EXPECT_TRUE(line.starts_with(text("{\"iteration\": ", n + 1, ", \"loss\": "))) << line;
    EXPECT_EQ(std::stof(line.substr(line.find("\"loss\": ") + 8)), static_cast<float>(losses[n]));
  }
  EXPECT_EQ(n, 9U);
}

// The loss is no number from the second step on; whatever comes next finds out before it does its work.
class LateNaN : public testing::Test {
 protected:
  LateNaN() {
    tiny_.device = &device_;
    tiny_.config.lr = 1e30;
    tiny_.config.iterations = 6;
    tiny_.config.checkpoint_every = tiny_.config.sample_every = 100;
  }
  std::map<std::string, std::string> run(TrainOptions options = {}) {
    const std::string line = message<Error>([&] { tiny_.run("run", false, options); });
    EXPECT_TRUE(contains(line, "iteration 2: the loss or its gradient is not finite (loss ")) << line;
    auto files = files_of(tiny_.out("run"));
    EXPECT_EQ(lines_with(files.at("metrics.jsonl"), "\"loss\""), 1U);
    EXPECT_EQ(lines_with(files.at("metrics.jsonl"), "\"validation\""), 1U);  // of iteration 0
    EXPECT_FALSE(files.contains("model.safetensors"));
    return files;
  }
  QueuedBackend device_{true};
  TinyRun tiny_;
};

TEST_F(LateNaN, IsSeenBeforeTheNextCheckpoint) {
  tiny_.config.checkpoint_every = 2;
  tiny_.config.val.clear();
  const std::string line = message<Error>([&] { tiny_.run("run"); });
  EXPECT_TRUE(contains(line, "iteration 2: ") && contains(line, "no checkpoint was written")) << line;
  EXPECT_FALSE(files_of(tiny_.out("run")).contains("checkpoints/000002.safetensors"));
}

TEST_F(LateNaN, KeepsTheCheckpointBeforeIt) {
  tiny_.config.checkpoint_every = 1;
  tiny_.config.val.clear();
  const std::string line = message<Error>([&] { tiny_.run("run"); });
  EXPECT_TRUE(contains(line, "iteration 2: ") && contains(line, "checkpoint 1 is kept")) << line;
  const auto files = files_of(tiny_.out("run"));
  EXPECT_TRUE(files.contains("checkpoints/000001.safetensors"));
  EXPECT_FALSE(files.contains("checkpoints/000002.safetensors"));
}

TEST_F(LateNaN, IsSeenBeforeTheNextSample) {
  tiny_.config.sample_every = 2;
  EXPECT_FALSE(run().contains("samples/000002.png"));
}

TEST_F(LateNaN, IsSeenBeforeTheNextValidation) {
  tiny_.config.iterations = 3;  // validated after the last step
  tiny_.config.sample_every = 0;
  run();
}

TEST_F(LateNaN, IsSeenBeforeAStopKeepsAnything) {
  std::atomic<bool> stop = false;
  const auto files = run({.stop = &stop, .after_step = [&](const StepReport&) { stop = true; }});
  for (const auto& [name, content] : files) EXPECT_FALSE(name.starts_with("checkpoints/")) << name;
}

TEST_F(LateNaN, IsSeenAFewStepsLaterAtMost) {
  tiny_.config.iterations = 1000;
  run();
  EXPECT_LE(device_.replays, 1 + static_cast<int>(StepReports::kMostAhead));
}

TEST(ReplayedSteps, ANormThatIsNoNumberCountsToo) {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  EXPECT_TRUE((StepFigures{1, 1, {}, {2, 3}}.finite()));
  EXPECT_FALSE((StepFigures{nan, 1, {}, {2, 3}}.finite()));
  EXPECT_FALSE((StepFigures{infinity, 1, {}, {2, 3}}.finite()));
  EXPECT_FALSE((StepFigures{1, 1, {}, {2, nan}}.finite()));
  EXPECT_FALSE((StepFigures{1, 1, {}, {infinity, 3}}.finite()));
}

TEST(ReplayedSteps, OtherShapesBeginAnew) {
  QueuedBackend device(true);
  const TinyRun tiny;
  RandomSource random(1, device);
  const auto model = make_model(tiny.config, random, device);
  Training training(*model, nullptr, stage_recipe(tiny.config, 1), random);
  std::vector<double> losses;
  const auto step = [&](std::int64_t batch) {
    const Tensor images = random.uniform({batch, 16, 16, 3});
    losses.push_back(training.step(0, images).loss.item());
  };
  for (int i = 0; i < 3; ++i) step(2);
  EXPECT_EQ(device.recordings, 1);
  EXPECT_EQ(device.replays, 2);
  for (int i = 0; i < 3; ++i) step(1);
  EXPECT_EQ(device.recordings, 2);
  EXPECT_EQ(device.replays, 4);
  {
    const PrecisionScope scope(Precision::bf16);
    for (int i = 0; i < 2; ++i) step(1);
  }
  EXPECT_EQ(device.recordings, 3);
  for (const double loss : losses) EXPECT_TRUE(std::isfinite(loss));
  EXPECT_EQ(training.adam().state().front().steps, 8);
}

// What the first step left is not held beside the recording's own memory.
TEST(ReplayedSteps, TheFirstStepsMemoryIsGivenBack) {
  QueuedBackend device(true);
  const TinyRun tiny;
  RandomSource random(1, device);
  const auto model = make_model(tiny.config, random, device);
  Training training(*model, nullptr, stage_recipe(tiny.config, 1), random);
  const Tensor images = random.uniform({64, 16, 16, 3});
  const auto held = [&] {
    const MemoryStatistics statistics = device.memory().statistics();
    return statistics.cached_bytes + statistics.live_bytes;
  };
  training.step(0, images);
  const std::size_t after_first = held();
  training.step(1, images);
  EXPECT_LT(static_cast<double>(held()), 1.2 * static_cast<double>(after_first));
}

}  // namespace
}  // namespace om
