// Whole training runs on an OpenCL device: what the processor's run gives, but for rounding; the same bytes
// when repeated and when stopped and resumed; and on a device without f64. Skipped, visibly, where there is
// none.
#include <gtest/gtest.h>

#include "tensor/registry.h"
#include "tests/train/tiny_run.h"

namespace om {
namespace {

using test::difference;
using test::files_of;
using test::StopAfter;
using test::TinyRun;

class OpenClRun : public testing::Test {
 protected:
  void SetUp() override {
    try {
      tiny_.device = &backend("opencl");
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
    tiny_.config.precision = "fp32";
    tiny_.add_lpips();
  }
  TinyRun tiny_;
};

TEST_F(OpenClRun, LossesAreTheProcessors) {
  std::vector<double> here, there;
  const auto losses_on = [&](Backend* device, const char* name) {
    std::vector<double> losses;
    TrainOptions options;
    options.after_step = [&](const StepReport& report) { losses.push_back(report.loss); };
    tiny_.device = device;
    tiny_.run(name, false, std::move(options));
    return losses;
  };
  there = losses_on(&backend("opencl"), "there");
  here = losses_on(nullptr, "here");
  ASSERT_EQ(here.size(), 6U);
  ASSERT_EQ(there.size(), here.size());
  for (std::size_t i = 0; i < here.size(); ++i) EXPECT_NEAR(there[i] / here[i], 1, 1e-3) << "step " << i;
}

TEST_F(OpenClRun, StoppedItEndsInTheSameBytes) {
  tiny_.run("whole");
  tiny_.run("again");
  const auto whole = files_of(tiny_.out("whole"));
  EXPECT_EQ(difference(files_of(tiny_.out("again")), whole), "");
  StopAfter third(3);
  EXPECT_TRUE(tiny_.run("stopped", false, third.options).interrupted);
  EXPECT_FALSE(tiny_.run("stopped", true).interrupted);
  EXPECT_EQ(difference(files_of(tiny_.out("stopped")), whole), "");
}

}  // namespace
}  // namespace om
