// What follows from parameters alone: formed once, and again when it has to be.
#include <gtest/gtest.h>

#include "autograd/fused.h"
#include "autograd/grad.h"
#include "nn/conv.h"
#include "nn/derived.h"
#include "nn/folded_conv.h"
#include "nn/initial.h"
#include "nn/linear.h"
#include "tensor/fused.h"
#include "tensor/registry.h"
#include "tensor/replay.h"

namespace om {
namespace {

Backend& cpu() { return backend("cpu"); }

struct Counted {
  Tensor weights = Tensor::full({3}, 2, DType::f32, cpu());
  int formed = 0;
  Derived derived;
  Tensor get() {
    return derived({weights}, [this] {
      ++formed;
      return weights * 3;
    });
  }
  float value() { return get().to_host<float>()[0]; }
};

TEST(Derived, IsFormedOnceAndAgainAfterAWrite) {
  Counted c;
  EXPECT_EQ(c.value(), 6);
  EXPECT_EQ(c.value(), 6);
  EXPECT_EQ(c.formed, 1);
  c.weights.fill(5);
  EXPECT_EQ(c.value(), 15);
  c.weights.assign(Tensor::full({3}, 7, DType::f32, cpu()));
  EXPECT_EQ(c.value(), 21);
  EXPECT_EQ(c.formed, 3);
}

TEST(Derived, BelongsToAPrecision) {
  Counted c;
  c.get();
  {
    const PrecisionScope scope(Precision::bf16);
    c.get();
    c.get();
  }
  EXPECT_EQ(c.formed, 2);
}

TEST(Derived, IsFormedEachTimeWhereAGradientIsWanted) {
  Counted c;
  c.get();
  c.weights = require_grad(c.weights);
  for (int i = 0; i < 2; ++i) {
    const Tensor y = c.get();
    EXPECT_EQ(grad({sum(y)}, {c.weights})[0].to_host<float>()[0], 3);
  }
  EXPECT_EQ(c.formed, 3);
  const NoGrad off;
  c.get();
  EXPECT_EQ(c.formed, 3) << "what was kept before still stands";
}

TEST(Derived, FollowsParametersThatAReplayWrites) {
  Counted c;
  Replay step(cpu(), [&] { c.weights.assign(c.weights + 1); }, {c.weights});
  for (int i = 0; i < 4; ++i) {
    step();
    EXPECT_EQ(c.value(), 3.0F * static_cast<float>(3 + i));
  }
}

TEST(Derived, WeightsAreRoundedForBf16Alone) {
  const Tensor w = Tensor::full({2}, 1.0 + 1.0 / 512, DType::f32, cpu());
  const Derived kept;
  EXPECT_EQ(rounded(w, kept).dtype(), DType::f32);
  const PrecisionScope scope(Precision::bf16);
  EXPECT_EQ(rounded(w, kept).dtype(), DType::bf16);
  EXPECT_EQ(rounded(require_grad(w), kept).dtype(), DType::f32) << "the gradient is a float's";
}

struct ConvAndNorm {
  Placement place{cpu(), DType::f64};
  Conv conv{place, {3, 4, 3, 2, 1}, true};
  BatchNorm norm{place, 4};
  FoldedConv folded{conv.weight(), conv.bias(), conv.options(), norm};
  RandomSource random{1, cpu()};
  Tensor x = random.normal({2, 5, 6, 3}).to(cpu());

  ConvAndNorm() {
    for (const Module* module : {static_cast<const Module*>(&conv), static_cast<const Module*>(&norm)})
      for (const Entry& entry : module->entries())
        if (is_floating(entry.value.dtype()))
          entry.value.assign(cast(random.uniform(entry.value.shape()), DType::f64) + 0.5);
    x = cast(x, DType::f64);
  }
  std::vector<double> apart() const { return norm(conv(x), {.slope = 0.2}).to_host<double>(); }
  std::vector<double> together() const {
    const Tensor y = conv2d(x, folded.weight(), folded.options());
    return channel_activation(y, {.bias = folded.bias(), .slope = 0.2}).to_host<double>();
  }
};

void expect_equal(const std::vector<double>& a, const std::vector<double>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-12) << i;
}

TEST(FoldedConv, IsTheConvolutionAndTheNorm) {
  const ConvAndNorm c;
  EXPECT_TRUE(c.folded.may_fold());
  EXPECT_EQ(c.folded.folds(), cpu().extension<ConvActivationKernels>() != nullptr);
  expect_equal(c.together(), c.apart());
  expect_equal(c.folded(c.x, {.slope = 0.2}).to_host<double>(), c.apart());
}

TEST(FoldedConv, FollowsItsParametersAndStatistics) {
  const ConvAndNorm c;
  c.together();
  for (const char* name : {"running_var", "running_mean", "weight", "bias"}) {
    for (const Entry& entry : c.norm.entries())
      if (entry.name == name) entry.value.assign(entry.value * 2);
    expect_equal(c.together(), c.apart());
  }
  for (const Entry& entry : c.conv.entries()) {
    entry.value.assign(entry.value * 2);
    expect_equal(c.together(), c.apart());
  }
}

TEST(FoldedConv, IsTwoStepsInTrainModeAndWhereAGradientIsWanted) {
  ConvAndNorm c;
  c.conv.set_trainable(true);
  EXPECT_FALSE(c.folded.may_fold());
  const NoGrad off;
  EXPECT_TRUE(c.folded.may_fold());
  c.norm.set_training(true);
  EXPECT_FALSE(c.folded.may_fold());
}

}  // namespace
}  // namespace om
