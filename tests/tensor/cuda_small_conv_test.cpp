// The cuda backend's own kernel for convolutions of small images in tf32 (tensor/cuda/conv_small.h).
#include <gtest/gtest.h>

#include <filesystem>

#include "tensor/fused.h"
#include "tests/tensor/cuda_check.h"

namespace om::cuda_check {
namespace {

namespace fs = std::filesystem;

constexpr Conv2dParams kSame{1, 1, 1, 1, Math::tf32}, kHalved{2, 2, 0, 0, Math::tf32};

class CudaSmallConv : public CudaTest {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    if (!IsSkipped() && !cuda_->supports(Math::tf32)) GTEST_SKIP() << "this card has no tf32";
  }

  bool has_clusters() const {
    const std::string card = cuda_->description();
    return card.find("capability 7") == std::string::npos && card.find("capability 8") == std::string::npos;
  }
  /// The card's in tf32, the reference's in strict double.
  static Conv2dParams on(const Backend& b, Conv2dParams params) {
    params.math = b.name() == "cuda" ? Math::tf32 : Math::strict;
    return params;
  }
  static Shape result_of(const Shape& x, const Shape& w, const Conv2dParams& p) {
    return {x[0], (x[1] + 2 * p.pad_h - w[1]) / p.stride_h + 1, (x[2] + 2 * p.pad_w - w[2]) / p.stride_w + 1,
            w[0]};
  }
};

// Operands that tf32 holds exactly: what is left is the order of the sums. And no engine of cuDNN's is chosen
// for any of them: the kernel takes them all, and the plan file stays away.
TEST_F(CudaSmallConv, ProductsOfBothDirections) {
  struct Case {
    Shape x, w;
    Conv2dParams params;
    bool forward_only = false;
  };
  const std::vector<Case> cases = {
      {{1, 4, 4, 512}, {512, 3, 3, 512}, kSame},
      {{1, 8, 8, 512}, {512, 3, 3, 512}, kSame},
      {{1, 16, 16, 512}, {512, 3, 3, 512}, {2, 2, 1, 1}},
      {{1, 8, 8, 256}, {256, 3, 3, 256}, {2, 2, 1, 1}},
      {{1, 9, 9, 512}, {512, 3, 3, 512}, kHalved},
      {{1, 17, 17, 256}, {512, 3, 3, 256}, kHalved},
      {{4, 4, 4, 512}, {512, 3, 3, 512}, kSame},
      {{1, 4, 4, 1024}, {64, 3, 3, 1024}, kSame},
      {{3, 4, 5, 64}, {64, 3, 3, 64}, kSame},
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
      {{1, 8, 8, 512},
       {512, 1, 1, 512},
       kHalved,
       true},  // three pixels of four meet no weight on the way back
      {{1, 8, 8, 64}, {96, 3, 3, 64}, kSame, true},
  };
  const fs::path folder =
      fs::temp_directory_path() / text("onemodel_small_", reinterpret_cast<std::uintptr_t>(this));
  fs::create_directories(folder);
  set_plan_folder(folder.string());
  for (const Case& c : cases) {
    const Shape y = result_of(c.x, c.w, c.params);
    const Operand x{c.x, normals(c.x, 60)}, w{c.w, normals(c.w, 61)}, g{y, normals(y, 62)};
    const auto both = [&](const char* op, const Operand& source, const Shape& result, auto kernel) {
      check(
          text(op, " x ", c.x, " w ", c.w, " y ", y), {source, w}, result, DType::f32, DType::f32,
          [&](Backend& b, const std::vector<In>& in, Out out) {
            (b.*kernel)(in[0], in[1], out, on(b, c.params));
          },
          3e-6);
    };
    both("conv2d", x, y, &Backend::conv2d);
    if (!c.forward_only) both("conv2d_input_grad", g, c.x, &Backend::conv2d_input_grad);
    EXPECT_TRUE(!has_clusters() || fs::is_empty(folder)) << c.x << ' ' << c.w << ": cuDNN's";
  }
  const Shape other{1, 4, 4, 72}, weight{72, 3, 3, 72};  // not of such channels
  run(*cuda_, {{other, normals(other, 60)}, {weight, normals(weight, 61)}}, other, DType::f32, DType::f32,
      [](Backend& b, const std::vector<In>& in, Out out) { b.conv2d(in[0], in[1], out, kSame); });
  EXPECT_FALSE(fs::is_empty(folder));
  set_plan_folder("");
  fs::remove_all(folder);
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
