// A device may lack f64 (Backend::supports); a whole run needs none. Tensor::empty refuses a dtype that the
// backend lacks, so whatever asks for f64 ends the run.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "nn/resample.h"
#include "tensor/registry.h"
#include "tests/train/queued_backend.h"
#include "tests/train/tiny_run.h"
#include "train/adam.h"

namespace om {
namespace {

using test::TinyRun;

class WithoutDouble final : public test::QueuedBackend {
 public:
  WithoutDouble() : QueuedBackend(false) {}
  bool supports(DType dtype) const override { return dtype != DType::f64; }
};

TEST(DeviceWithoutDouble, TrainsAndValidates) {
  TinyRun tiny;
  tiny.config.precision = "fp32";
  tiny.add_lpips();
  const auto losses_on = [&](Backend* device, const char* name) {
    std::vector<double> losses;
    TrainOptions options;
    options.after_step = [&](const StepReport& report) { losses.push_back(report.loss); };
    tiny.device = device;
    tiny.run(name, false, std::move(options));
    return losses;
  };
  WithoutDouble poor;
  const std::vector<double> there = losses_on(&poor, "there"), here = losses_on(nullptr, "here");
  ASSERT_EQ(here.size(), 6U);
  ASSERT_EQ(there.size(), here.size());
  for (std::size_t i = 0; i < here.size(); ++i) EXPECT_NEAR(there[i] / here[i], 1, 1e-4) << "step " << i;
}

/// Adam's scalars are formed in float there, without cancellation: 1 - 0.999^t is small in the first steps.
TEST(DeviceWithoutDouble, AdamTakesTheSameSteps) {
  const auto trained_on = [](Backend& on) {
    const Tensor p = Tensor::from_host(std::vector<float>{1, -2, 3}, {3}, on);
    Adam adam({{.name = "all", .parameters = {{"p", p, {}, {}}}, .lr = 1}}, {});
    std::vector<float> values;
    for (int i = 0; i < 5; ++i) {
      adam.step({Tensor::from_host(std::vector<float>{0.3F, -1e-3F, static_cast<float>(i)}, {3}, on)});
      for (const float value : p.to_host<float>()) values.push_back(value);
    }
    return values;
  };
  WithoutDouble poor;
  const std::vector<float> there = trained_on(poor), here = trained_on(backend("cpu"));
  for (std::size_t i = 0; i < here.size(); ++i) EXPECT_NEAR(there[i], here[i], 3e-6) << i;
}

TEST(DeviceWithoutDouble, FiltersAreRoundedOnTheHost) {
  WithoutDouble poor;
  const std::vector<double> taps = {1, 3, 3, 1};
  EXPECT_EQ(fir_filter(taps, 4, DType::f32, poor).to_host<float>(),
            fir_filter(taps, 4, DType::f32, backend("cpu")).to_host<float>());
}

}  // namespace
}  // namespace om
