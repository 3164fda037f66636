// Whole runs on a card, in each precision: recorded steps and steps as they are, stopped and left alone, once
// and again give the same bytes. Where there is no card every test is skipped, visibly.
//
// A resumed run's first step runs as it is, and is one that the run left alone replayed: so bytes that are
// equal after a stop at every step say that a replay equals the eager step, to the bit.
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "tensor/registry.h"
#include "tests/train/tiny_run.h"
#include "train/evaluate.h"
#include "train/pixels.h"

namespace om {
namespace {

using test::contains;
using test::difference;
using test::files_of;
using test::message;
using test::StopAfter;
using test::TinyRun;

using Files = std::map<std::string, std::string>;

class CudaRun : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    try {
      cuda_ = &backend("cuda");
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
    const std::string precision = GetParam();
    if (precision == "bf16" && !cuda_->supports(DType::bf16)) GTEST_SKIP() << "this card has no bf16";
    if (precision == "tf32" && !cuda_->supports(Math::tf32)) GTEST_SKIP() << "this card has no tf32";
    tiny_.device = cuda_;
    tiny_.config.precision = precision;
    tiny_.config.encoder_width = 2;
  }
  /// A run's files, but for what the backend keeps for itself and the settings.
  Files files(const std::string& name) const {
    Files found = files_of(tiny_.out(name));
    found.erase("config.json");
    std::erase_if(found, [](const auto& file) { return file.first.starts_with("plans/"); });
    return found;
  }
  Backend* cuda_ = nullptr;
  TinyRun tiny_;
};

TEST_P(CudaRun, StoppedAtEveryStepItEndsInTheSameBytes) {
  tiny_.add_lpips();
  tiny_.run("whole");
  const Files whole = files("whole");
  EXPECT_TRUE(whole.contains("checkpoints/000006.safetensors"));
  for (int step = 1; step <= 5; ++step) {
    const std::string name = "stopped" + std::to_string(step);
    StopAfter stop(step);
    EXPECT_TRUE(tiny_.run(name, false, stop.options).interrupted || step > 3);  // seen a few steps later
    tiny_.run(name, true);
    EXPECT_EQ(difference(whole, files(name)), "") << "stopped after " << step;
  }
}

// As a killed one does: without a checkpoint, and with steps whose values nobody has seen.
TEST_P(CudaRun, BrokenOffAndResumedEndsInTheSameBytes) {
  tiny_.run("whole");
  const Files whole = files("whole");
  for (int step = 1; step <= 6; ++step) {
    const std::string name = "broken" + std::to_string(step);
    TrainOptions options;
    options.after_step = [&](const StepReport& report) {
      if (report.iteration == step) fail("broken off");
    };
    EXPECT_EQ(message<Error>([&] { tiny_.run(name, false, options); }), "broken off");
    tiny_.run(name, true);
    EXPECT_EQ(difference(whole, files(name)), "") << "broken off after " << step;
  }
}

TEST_P(CudaRun, TwoStagesStoppedAtEveryStepEndInTheSameBytes) {
  for (const char* strategy : {"two-networks", "learning-rate"}) {
    SCOPED_TRACE(strategy);
    tiny_.set_strategy(strategy);
    const std::string prefix = std::string(strategy) + "-";
    tiny_.run(prefix + "whole");
    const Files whole = files(prefix + "whole");
    for (int step = 1; step <= 5; ++step) {
      const std::string name = prefix + std::to_string(step);
      StopAfter stop(step);
      tiny_.run(name, false, stop.options);
      tiny_.run(name, true);
      EXPECT_EQ(difference(whole, files(name)), "") << "stopped after " << step;
    }
  }
}

TEST_P(CudaRun, RepeatsToTheByte) {
  tiny_.run("one");
  tiny_.run("two");
  EXPECT_EQ(difference(files("one"), files("two")), "");
}

TEST_P(CudaRun, RecomputingGivesTheSameBytes) {
  tiny_.add_lpips();
  tiny_.run("plain");
  tiny_.config.checkpoint_activations = true;
  tiny_.run("saved");
  EXPECT_EQ(difference(files("plain"), files("saved")), "");
}

// What was chosen lies in the run's folder, and a resumed run changes nothing of it. (It adds what comes to
// be computed for the first time: samples, validation.)
TEST_P(CudaRun, KeepsItsEngines) {
  StopAfter stop(2);
  tiny_.run("run", false, stop.options);
  const auto plans = [&] {
    Files found = files_of(tiny_.out("run"));
    std::erase_if(found, [](const auto& file) { return !file.first.starts_with("plans/plans-"); });
    return found;
  };
  const Files before = plans();
  ASSERT_EQ(before.size(), 1U);
  EXPECT_TRUE(contains(before.begin()->second, "conv2d"));
  tiny_.run("run", true);
  const Files after = plans();
  ASSERT_EQ(after.size(), 1U);
  std::istringstream lines(before.begin()->second);
  for (std::string line; std::getline(lines, line);)
    EXPECT_TRUE(contains(after.begin()->second, line + "\n")) << line;
  EXPECT_EQ(plan_folder(), "");
}

TEST_P(CudaRun, EndsAtANumberThatIsNone) {
  tiny_.config.lr = 1e30;
  tiny_.config.checkpoint_every = 1;
  const std::string line = message<Error>([&] { tiny_.run("run"); });
  EXPECT_TRUE(contains(line, "iteration 2: the loss or its gradient is not finite")) << line;
  const Files found = files("run");
  EXPECT_TRUE(found.contains("checkpoints/000001.safetensors"));
  EXPECT_FALSE(found.contains("checkpoints/000002.safetensors"));
}

TEST_P(CudaRun, PixelsHaveTheBitsOfToTensor) {
  std::vector<std::uint8_t> bytes(2 * 16 * 16 * 3);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i + i / 256);
  PixelFeed feed(*cuda_);
  const PixelTable table(*cuda_);
  for (int i = 0; i < 7; ++i) {  // each buffer more than once
    bytes[0] = static_cast<std::uint8_t>(i);
    EXPECT_EQ(table(feed(bytes, {2, 16, 16, 3})).to_host<float>(),
              to_tensor(bytes, 2, 16, backend("cpu")).to_host<float>());
  }
}

INSTANTIATE_TEST_SUITE_P(Precisions, CudaRun, testing::Values("fp32", "tf32", "bf16"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace om
