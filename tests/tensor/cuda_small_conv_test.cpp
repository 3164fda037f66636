// The cuda backend's own kernel for convolutions of small images in tf32 (tensor/cuda/conv_small.h).
#include <gtest/gtest.h>

#include <filesystem>

#include "tensor/dry.h"
#include "tensor/fused.h"
#include "tests/tensor/cuda_check.h"

namespace om::cuda_check {
namespace {

namespace fs = std::filesystem;

constexpr Conv2dParams kSame{1, 1, 1, 1, Math::tf32}, kHalved{2, 2, 0, 0, Math::tf32};

struct Case {
  Shape x, w;
  Conv2dParams params;
  bool forward_only = false;

  Shape y() const {
    return {x[0], (x[1] + 2 * params.pad_h - w[1]) / params.stride_h + 1,
            (x[2] + 2 * params.pad_w - w[2]) / params.stride_w + 1, w[0]};
  }
};

class CudaSmallConv : public CudaTest {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    if (!IsSkipped() && !cuda_->supports(Math::tf32)) GTEST_SKIP() << "this card has no tf32";
    folder_ =
        fs::temp_directory_path() / text("onemodel_small_", ::testing::UnitTest::GetInstance()->random_seed(),
                                         '_', reinterpret_cast<std::uintptr_t>(this));
  }
  void TearDown() override {
    set_plan_folder("");
    fs::remove_all(folder_);
    CudaTest::TearDown();
  }

  /// What an engine of cuDNN's is chosen for from now on is in a file of this folder.
  void watch_plans() {
    fs::remove_all(folder_);
    folder_ += "x";  // another name: the backend reads it anew
    fs::create_directories(folder_);
    set_plan_folder(folder_.string());
  }
  bool chosen() const { return !fs::is_empty(folder_); }

  /// Hopper's and large Blackwell chips have clusters and the shared memory for every case here.
  bool takes_all() const {
    const std::string card = cuda_->description();
    return card.find("capability 9.") != std::string::npos ||
           card.find("capability 10.") != std::string::npos;
  }

  /// Both directions beside the reference, to a tolerance; the card's in tf32, the reference's in double.
  void convolve(const Case& c, double tolerance) {
    const Operand x{c.x, normals(c.x, 60)}, w{c.w, normals(c.w, 61)}, g{c.y(), normals(c.y(), 62)};
    const auto direction = [&](const char* op, const Operand& source, const Shape& result, auto kernel) {
      check(
          text(op, " x ", c.x, " w ", c.w, " y ", c.y()), {source, w}, result, DType::f32, DType::f32,
          [&](Backend& b, const std::vector<In>& in, Out out) {
            Conv2dParams params = c.params;
            params.math = &b == cuda_ ? Math::tf32 : Math::strict;
            (b.*kernel)(in[0], in[1], out, params);
          },
          tolerance);
    };
    direction("conv2d", x, c.y(), &Backend::conv2d);
    if (!c.forward_only) direction("conv2d_input_grad", g, c.x, &Backend::conv2d_input_grad);
  }

 private:
  fs::path folder_;
};

// Operands that tf32 holds exactly: what is left is the order of the sums. And no engine of cuDNN's is chosen
// for any of them: the kernel takes them all. (That nothing reads what another thread has not written yet,
// `scripts/device run memory` asks racecheck.)
TEST_F(CudaSmallConv, ProductsOfBothDirections) {
  const std::vector<Case> cases = {
      {{1, 4, 4, 512}, {512, 3, 3, 512}, kSame},
      {{1, 8, 8, 512}, {512, 3, 3, 512}, kSame},
      {{1, 16, 16, 512}, {512, 3, 3, 512}, {2, 2, 1, 1}},
      {{1, 8, 8, 256}, {256, 3, 3, 256}, {2, 2, 1, 1}},
      {{1, 9, 9, 512}, {512, 3, 3, 512}, kHalved},
      {{1, 17, 17, 256}, {512, 3, 3, 256}, kHalved},
      {{4, 4, 4, 512}, {512, 3, 3, 512}, kSame},
      {{1, 4, 4, 1024}, {64, 3, 3, 1024}, kSame},
      {{2, 3, 3, 1024}, {64, 1, 1, 1024}, {1, 1, 0, 0}},
      {{3, 4, 5, 64}, {64, 3, 3, 64}, kSame},
      {{10, 4, 5, 64}, {64, 3, 3, 64}, {1, 1, 0, 0}},  // back in two tiles, the second from within an image
      {{1, 2, 2, 64}, {64, 3, 3, 64}, {1, 1, 3, 3}},   // back from the second line on
      {{3, 9, 7, 64}, {128, 3, 3, 64}, {2, 2, 1, 1}},
      {{3, 9, 7, 128}, {64, 3, 3, 128}, {2, 2, 1, 0}},
      {{2, 5, 4, 64}, {64, 2, 3, 64}, {1, 1, 0, 2}},
      {{2, 3, 3, 64}, {64, 3, 3, 64}, {1, 1, 2, 2}},
      {{2, 4, 8, 128}, {256, 1, 1, 128}, {1, 1, 0, 0}},
      {{1, 1, 1, 128}, {512, 1, 1, 128}, {1, 1, 0, 0}},
      {{16, 1, 1, 1024}, {64, 1, 1, 1024}, {1, 1, 0, 0}},
      {{7, 2, 2, 64}, {64, 2, 2, 64}, kHalved},
      {{1, 1, 1, 64}, {64, 3, 3, 64}, kSame},
      {{1, 2, 32, 64}, {64, 3, 3, 64}, kSame},
      {{1, 32, 2, 64}, {64, 3, 3, 64}, kSame},
      {{16, 2, 2, 64}, {64, 3, 3, 64}, kSame},
      {{15, 3, 3, 64}, {64, 3, 3, 64}, {2, 2, 1, 1}},
      // Three pixels of four meet no weight on the way back.
      {{1, 8, 8, 512}, {512, 1, 1, 512}, kHalved, true},
      {{1, 8, 8, 64}, {96, 3, 3, 64}, kSame, true},
  };
  watch_plans();
  for (const Case& c : cases) {
    convolve(c, 3e-6);
    EXPECT_TRUE(!takes_all() || !chosen()) << c.x << ' ' << c.w << ": cuDNN's";
  }
}

TEST_F(CudaSmallConv, LeavesTheOthersToCudnn) {
  const std::vector<Case> cases = {
      {{1, 5, 13, 64}, {64, 3, 3, 64}, kSame},              // 65 pixels
      {{1, 3, 129, 64}, {64, 3, 3, 64}, kHalved},           // from 387
      {{1, 4, 4, 72}, {72, 3, 3, 72}, kSame},               // channels that are no power of two
      {{1, 4, 4, 192}, {192, 3, 3, 192}, kSame},            // likewise
      {{1, 2, 2, 2048}, {2048, 1, 1, 2048}, {1, 1, 0, 0}},  // too many
      {{1, 8, 8, 64}, {64, 3, 3, 64}, {2, 1, 1, 1}},        // strides that differ
      {{1, 9, 9, 64}, {64, 3, 3, 64}, {3, 3, 1, 1}},        // large ones
      {{1, 4, 6, 64}, {64, 2, 5, 64}, {1, 1, 1, 2}},        // ten taps
  };
  for (const Case& c : cases) {
    for (const bool forward : {true, false}) {
      watch_plans();
      const Tensor x = upload(normals(c.x, 60), c.x, DType::f32, *cuda_),
                   w = upload(normals(c.w, 61), c.w, DType::f32, *cuda_),
                   y = upload(normals(c.y(), 62), c.y(), DType::f32, *cuda_);
      Conv2dParams params = c.params;
      params.math = Math::tf32;
      if (forward)
        cuda_->conv2d(x.in(), w.in(), y.out(), params);
      else
        cuda_->conv2d_input_grad(y.in(), w.in(), x.out(), params);
      EXPECT_TRUE(chosen()) << c.x << ' ' << c.w << ' ' << forward;
    }
    convolve(c, 1e-3);
  }
}

// The kernel has no workspace, and needs no engine, for which a dry backend would have to know one.
TEST_F(CudaSmallConv, IsKnownToADryBackend) {
  if (!takes_all()) GTEST_SKIP() << "this card has no clusters, or little shared memory";
  const auto dry = dry_backend(*cuda_);
  const auto convolve = [&](std::int64_t channels) {
    const Shape image{1, 4, 4, channels};
    const Tensor x = Tensor::empty(image, DType::f32, *dry), y = Tensor::empty(image, DType::f32, *dry),
                 w = Tensor::empty({channels, 3, 3, channels}, DType::f32, *dry);
    dry->conv2d(x.in(), w.in(), y.out(), kSame);
    dry->conv2d_input_grad(y.in(), w.in(), x.out(), kSame);
    return dry->extension<WorkMeter>()->knows_scratch();
  };
  watch_plans();
  EXPECT_TRUE(convolve(256));
  EXPECT_FALSE(convolve(104));  // of which no test has an engine chosen
}

// 1 + 0.75 2^-10 is nearer to 1 + 2^-10, tf32's next number, than to 1.
TEST_F(CudaSmallConv, OperandsAreRoundedToTheNearest) {
  const double value = 1 + 0.75 / 1024, rounded = 1 + 1.0 / 1024;
  const Tensor x = Tensor::full({1, 4, 4, 64}, value, DType::f32, *cuda_);
  const Tensor w = Tensor::full({64, 1, 1, 64}, value, DType::f32, *cuda_);
  const Tensor y = Tensor::empty({1, 4, 4, 64}, DType::f32, *cuda_), dx = y.empty_like();
  cuda_->conv2d(x.in(), w.in(), y.out(), {1, 1, 0, 0, Math::tf32});
  cuda_->conv2d_input_grad(x.in(), w.in(), dx.out(), {1, 1, 0, 0, Math::tf32});
  for (const double sum : download(y)) EXPECT_NEAR(sum / 64, rounded * rounded, 1e-6);
  for (const double sum : download(dx)) EXPECT_NEAR(sum / 64, rounded * rounded, 1e-6);
}

// gain f(scale c + strength noise + bias + residual) factor of the sums c, each operand there or not,
// coefficients of all images or of each.
TEST_F(CudaSmallConv, TheActivationBehind) {
  auto* fused = cuda_->extension<ConvActivationKernels>();
  ASSERT_NE(fused, nullptr);
  enum Operands { scale = 1, bias = 2, noise = 4, residual = 8, factor = 16, all = 31 };
  struct Case {
    std::int64_t images, size;
    int operands;
    bool per_image;
    double slope, gain;
  };
  for (const Case& c : {Case{1, 4, 0, false, 1, 1}, Case{1, 8, bias, false, 0, 1},
                        Case{1, 4, scale | noise | bias, false, 0.2, 1.5}, Case{3, 4, all, true, 0.2, 1.25},
                        Case{2, 4, all, false, 0, 1}, Case{1, 8, residual | bias, false, 0, 1},
                        Case{2, 5, factor | scale, true, 0.5, 1}}) {
    const Shape image{c.images, c.size, c.size, 64}, weight{64, 3, 3, 64},
        coefficient{c.per_image ? c.images : 1, 1, 1, 64}, map{c.per_image ? c.images : 1, c.size, c.size, 1};
    const Values xs = normals(image, 70), ws = normals(weight, 71), scales = normals(coefficient, 72),
                 biases = normals(coefficient, 73), noises = normals(map, 74), residuals = normals(image, 75),
                 factors = normals(coefficient, 76);
    const double strength = 0.75;
    Values expected = download(run(backend("reference"), {{image, xs}, {weight, ws}}, image, DType::f64,
                                   DType::f64, [](Backend& b, const std::vector<In>& in, Out out) {
                                     b.conv2d(in[0], in[1], out, {1, 1, 1, 1});
                                   }));
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const std::size_t pixels = static_cast<std::size_t>(c.size * c.size), each = i / (pixels * 64),
                        channel = (c.per_image ? each * 64 : 0) + i % 64,
                        pixel = (c.per_image ? each * pixels : 0) + i / 64 % pixels;
      double u = expected[i];
      if (c.operands & scale) u *= scales[channel];
      if (c.operands & noise) u += strength * noises[pixel];
      if (c.operands & bias) u += biases[channel];
      if (c.operands & residual) u += residuals[i];
      u *= c.gain * (u > 0 ? 1 : c.slope);
      expected[i] = c.operands & factor ? u * factors[channel] : u;
    }

    std::vector<Tensor> held;
    const auto given = [&](bool wanted, const Values& values, const Shape& shape) {
      if (!wanted) return In{};
      held.push_back(upload(values, shape, DType::f32, *cuda_));
      return held.back().in();
    };
    const In x = given(true, xs, image), w = given(true, ws, weight);
    ChannelKernels::Activation then;
    then.scale = given(c.operands & scale, scales, coefficient);
    then.bias = given(c.operands & bias, biases, coefficient);
    then.noise = given(c.operands & noise, noises, map);
    then.strength = given(c.operands & noise, {strength}, {1, 1, 1, 1});
    then.residual = given(c.operands & residual, residuals, image);
    then.factor = given(c.operands & factor, factors, coefficient);
    then.slope = c.slope;
    then.gain = c.gain;
    const Tensor y = Tensor::empty(image, DType::f32, *cuda_), again = y.empty_like();
    fused->conv2d_activation(x, w, then, y.out(), kSame);
    fused->conv2d_activation(x, w, then, again.out(), kSame);
    EXPECT_EQ(harness::difference(download(y), expected, {.tolerance = 3e-6, .nonfinite = true}), "")
        << image << " operands " << c.operands;
    EXPECT_EQ(bits(y), bits(again));
  }
}

TEST_F(CudaSmallConv, WhatIsNotANumberStaysWhereItIs) {
  const Shape image{1, 8, 8, 64}, weight{64, 3, 3, 64};
  Values xs = normals(image, 80);
  xs[(3 * 8 + 4) * 64 + 7] = std::numeric_limits<double>::quiet_NaN();  // of pixel (3, 4)
  const Tensor y =
      run(*cuda_, {{image, xs}, {weight, normals(weight, 81)}}, image, DType::f32, DType::f32,
          [](Backend& b, const std::vector<In>& in, Out out) { b.conv2d(in[0], in[1], out, kSame); });
  const Values values = download(y);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t row = i / 64 / 8, column = i / 64 % 8;
    EXPECT_EQ(std::isnan(values[i]), row >= 2 && row <= 4 && column >= 3 && column <= 5)
        << row << ' ' << column;
  }
}

}  // namespace
}  // namespace om::cuda_check
