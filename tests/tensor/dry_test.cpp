// Dry backends: the work that kernels are counted for, and memory as the real backend hands it out.
#include "tensor/dry.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tensor/registry.h"
#include "tensor/tensor.h"

namespace om {
namespace {

class DryTest : public testing::TestWithParam<const char*> {
 protected:
  Backend& real() { return backend(GetParam()); }
  std::unique_ptr<Backend> dry_ = dry_backend(real());
  WorkMeter& meter_ = *dry_->extension<WorkMeter>();

  Tensor empty(const Shape& shape, DType dtype = DType::f32) { return Tensor::empty(shape, dtype, *dry_); }
  /// The work of one kernel.
  Work work_of(const auto& kernel) {
    const Work before = meter_.work();
    kernel(*dry_);
    return meter_.work() - before;
  }
};

INSTANTIATE_TEST_SUITE_P(Backends, DryTest, testing::Values("cpu", "reference"));

TEST_P(DryTest, IsLikeTheOther) {
  EXPECT_EQ(dry_->name(), real().name());
  EXPECT_EQ(dry_->description(), real().description());
  EXPECT_EQ(dry_->host_memory(), real().host_memory());
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16})
    EXPECT_EQ(dry_->supports(dtype), real().supports(dtype));
  EXPECT_EQ(dry_->supports(Math::tf32), real().supports(Math::tf32));
  const auto same = [&]<class E>(E*) {
    EXPECT_EQ(dry_->extension<E>() != nullptr, real().extension<E>() != nullptr);
  };
  same(static_cast<ChannelKernels*>(nullptr));
  same(static_cast<ConvActivationKernels*>(nullptr));
  same(static_cast<BatchNormKernels*>(nullptr));
  same(static_cast<DistanceKernels*>(nullptr));
  same(static_cast<AdamKernels*>(nullptr));
  EXPECT_FALSE(dry_->begin_capture());
}

TEST_P(DryTest, ConvolutionsCountTheirProducts) {
  // 2 images, 6 x 8 results of 5 channels, 3 x 3 taps of 4 channels
  constexpr double kFlops = 2.0 * 2 * 6 * 8 * 5 * 3 * 3 * 4;
  const Tensor x = empty({2, 12, 16, 4}), w = empty({5, 3, 3, 4}), y = empty({2, 6, 8, 5});
  const Conv2dParams params{2, 2, 1, 1};
  const double bytes = 4.0 * static_cast<double>(x.elements() + w.elements() + y.elements());
  const Work each[] = {work_of([&](Backend& b) { b.conv2d(x.in(), w.in(), y.out(), params); }),
                       work_of([&](Backend& b) { b.conv2d_input_grad(y.in(), w.in(), x.out(), params); }),
                       work_of([&](Backend& b) { b.conv2d_weight_grad(x.in(), y.in(), w.out(), params); })};
  for (const Work& work : each) {
    EXPECT_EQ(work.flops, kFlops);
    EXPECT_EQ(work.bytes, bytes);
    EXPECT_EQ(work.kernels, 1);
  }
}

TEST_P(DryTest, MatrixProducts) {
  const Tensor a = empty({3, 5, 7}), b = empty({1, 7, 4}), y = empty({3, 5, 4});
  EXPECT_EQ(work_of([&](Backend& k) { k.matmul(a.in(), b.in(), y.out(), {}); }).flops, 2.0 * 3 * 5 * 4 * 7);
  const Tensor turned = empty({3, 7, 5});
  const MatmulParams transposed{.transpose_a = true};
  EXPECT_EQ(work_of([&](Backend& k) { k.matmul(turned.in(), b.in(), y.out(), transposed); }).flops,
            2.0 * 3 * 5 * 4 * 7);
}

TEST_P(DryTest, OthersMoveBytesAlone) {
  const Tensor x = empty({2, 4, 4, 3}, DType::bf16), y = empty({2, 4, 4, 3});
  const Work cast = work_of([&](Backend& b) { b.cast(x.in(), y.out()); });
  EXPECT_EQ(cast.flops, 0);
  EXPECT_EQ(cast.bytes, 96.0 * (2 + 4));
  const Work add = work_of([&](Backend& b) { b.binary(BinaryOp::add, y.in(), y.in(), y.out(), 0); });
  EXPECT_EQ(add.bytes, 96.0 * 3 * 4);
  EXPECT_EQ(work_of([&](Backend&) { y.assign(y.clone()); }).bytes, 96.0 * 4 * 4);
}

TEST_P(DryTest, HoldsNoMemory) {
  const Tensor large = empty({std::int64_t{1} << 36});  // 256 GiB
  large.fill(1);
  EXPECT_GE(dry_->memory().statistics().live_bytes, std::size_t{1} << 38);
  EXPECT_EQ(empty({3}).to_host<float>(), std::vector<float>(3));
  EXPECT_EQ(dry_->read_later(large.in().data, 8)->wait().size(), 8U);
}

TEST_P(DryTest, FusedKernelsCountTheirImages) {
  auto* kernels = dry_->extension<ChannelKernels>();
  if (kernels == nullptr) {
    EXPECT_STREQ(GetParam(), "reference");
    return;
  }
  const Tensor x = empty({2, 4, 4, 8}), y = empty({2, 4, 4, 8}), bias = empty({1, 1, 1, 8});
  const Work work = work_of([&](Backend&) {
    kernels->channel_activation({.x = x.in(),
                                 .scale = {},
                                 .bias = bias.in(),
                                 .noise = {},
                                 .strength = {},
                                 .residual = {},
                                 .factor = {}},
                                y.out());
  });
  EXPECT_EQ(work.bytes, 4.0 * (256 + 256 + 8));
}

/// The kernels' own scratch memory: the same peak as the real kernels make.
TEST(DryCpu, ScratchOfKernels) {
  const auto peak = [](Backend& b, DType dtype, std::int64_t side, std::int64_t channels,
                       std::int64_t stride) {
    const Conv2dParams params{stride, stride, 1, 1};
    const Shape result{2, (side - 1) / stride + 1, (side - 1) / stride + 1, channels};
    b.memory().release_cached();
    const Tensor x = Tensor::zeros({2, side, side, channels}, dtype, b);
    const Tensor w = Tensor::zeros({channels, 3, 3, channels}, dtype, b), y = Tensor::zeros(result, dtype, b);
    const std::size_t before = b.memory().statistics().live_bytes;
    b.memory().reset_peak();
    b.conv2d(x.in(), w.in(), y.out(), params);
    b.conv2d_input_grad(y.in(), w.in(), x.out(), params);
    b.conv2d_weight_grad(x.in(), y.in(), w.out(), params);
    b.memory().reset_peak();
    b.conv2d(x.in(), w.in(), y.out(), params);
    return b.memory().statistics().peak_bytes - before;
  };
  Backend& cpu = backend("cpu");
  for (const DType dtype : {DType::f32, DType::bf16, DType::f64})
    for (const std::int64_t channels : {3, 32, 64})
      for (const std::int64_t stride : {1, 2}) {
        const std::unique_ptr<Backend> dry = dry_backend(cpu);
        const std::size_t real = peak(cpu, dtype, 33, channels, stride);
        EXPECT_EQ(peak(*dry, dtype, 33, channels, stride), real)
            << name_of(dtype) << " " << channels << " stride " << stride;
        EXPECT_GT(real, 0U);
        EXPECT_EQ(dry->extension<WorkMeter>()->scratch_at_peak(), real);
      }
}

TEST(DryCpu, OthersTakeNoneAtTheirPeak) {
  const std::unique_ptr<Backend> dry = dry_backend(backend("cpu"));
  WorkMeter& meter = *dry->extension<WorkMeter>();
  const Tensor x = Tensor::zeros({1, 32, 32, 32}, DType::f32, *dry),
               w = Tensor::zeros({32, 3, 3, 32}, DType::f32, *dry);
  dry->conv2d(x.in(), w.in(), x.out(), {1, 1, 1, 1});
  EXPECT_GT(meter.scratch_at_peak(), 0U);
  const Tensor more = Tensor::zeros({64, 32, 32, 32}, DType::f32, *dry);
  EXPECT_EQ(meter.scratch_at_peak(), 0U);
  EXPECT_TRUE(meter.knows_scratch());
}

/// Threads that were at rest work again.
TEST(DryCpu, TheRealBackendGoesOn) {
  Backend& cpu = backend("cpu");
  const std::unique_ptr<Backend> dry = dry_backend(cpu);
  const Tensor x = Tensor::zeros({1 << 20}, DType::f32, *dry);
  x.fill(2);
  const std::vector<float> there = Tensor::full({1 << 20}, 2, DType::f32, cpu).to_host<float>();
  EXPECT_EQ(there, std::vector<float>(1 << 20, 2));
}

}  // namespace
}  // namespace om
