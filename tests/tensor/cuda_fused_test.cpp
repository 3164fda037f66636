// The cuda backend's fused kernels against the cpu's in double, over channel counts that take each of their
// ways: vectors or single channels, one warp a row of channels or several, more channels than a block holds.
#include <gtest/gtest.h>

#include "tensor/fused.h"
#include "tests/tensor/cuda_check.h"

namespace om::cuda_check {
namespace {

class CudaFused : public CudaTest {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    if (cuda_ == nullptr) return;
    if (cuda_->extension<ChannelKernels>() == nullptr) FAIL() << "no fused kernels";
  }
};

const std::vector<Shape> kImages = {{2, 5, 7, 8},    {1, 16, 16, 128}, {3, 9, 5, 512},
                                    {2, 4, 4, 48},   {1, 3, 3, 1032},  {2, 40, 33, 30},
                                    {2, 70, 65, 64}, {5, 3, 2, 1},     {1, 2, 2, 4104}};

/// Tensors of both sides by name: the dtype under test there, double here.
class Side {
 public:
  Side(Backend& backend, DType image)
      : backend_(backend), image_(image), other_(image == DType::f64 ? image : DType::f32) {}

  In image(const Shape& shape, unsigned seed) {
    return keep(upload(normals(shape, seed), shape, image_, backend_));
  }
  In other(const Shape& shape, unsigned seed) {
    return keep(upload(normals(shape, seed), shape, other_, backend_));
  }
  Out image_result(const Shape& shape) { return result(shape, image_); }
  Out other_result(const Shape& shape) { return result(shape, other_); }
  const std::vector<Tensor>& results() const { return results_; }
  Backend& backend() { return backend_; }
  template <class Kernels>
  Kernels& kernels() {
    return *backend_.extension<Kernels>();
  }

 private:
  In keep(Tensor tensor) {
    kept_.push_back(std::move(tensor));
    return kept_.back().in();
  }
  Out result(const Shape& shape, DType dtype) {
    results_.push_back(Tensor::empty(shape, dtype, backend_));
    return results_.back().out();
  }

  Backend& backend_;
  DType image_, other_;
  std::vector<Tensor> kept_, results_;
};

/// The body on both sides, and twice on the card.
template <class Body>
void compare(Backend& cuda, const std::string& what, DType dtype, const Body& body, Tolerances tolerances) {
  Side expected(backend("cpu"), DType::f64), got(cuda, dtype), again(cuda, dtype);
  for (Side* side : {&expected, &got, &again}) body(*side);
  ASSERT_EQ(expected.results().size(), got.results().size());
  for (std::size_t i = 0; i < got.results().size(); ++i) {
    const double error = relative_error(download(got.results()[i]), download(expected.results()[i]));
    const double bound =
        got.results()[i].dtype() == DType::f32 && dtype == DType::bf16 ? 3e-5 : tolerances.of(dtype);
    EXPECT_TRUE(error <= bound) << what << " in " << name_of(dtype) << ", result " << i << ": " << error;
    EXPECT_EQ(bits(got.results()[i]), bits(again.results()[i])) << what << ": other bits the second time";
  }
}

constexpr Tolerances kTolerances{3e-6, 1e-12, 5e-3};

ChannelKernels::Activation operands(Side& s, const Shape& x, bool shared, bool everything, double slope) {
  const std::int64_t n = shared ? 1 : x[0];
  ChannelKernels::Activation a;
  a.x = s.image(x, 1);
  a.scale = s.other({n, 1, 1, x[3]}, 2);
  a.bias = s.other({1, 1, 1, x[3]}, 3);
  if (everything) {
    a.noise = s.other({n, x[1], x[2], 1}, 4);
    a.strength = s.other({1}, 5);
    a.residual = s.image(x, 6);
    a.factor = s.other({n, 1, 1, x[3]}, 7);
  }
  a.slope = slope;
  a.gain = 1.5;
  return a;
}

TEST_F(CudaFused, ChannelActivation) {
  for (const Shape& x : kImages)
    for (const DType dtype : kFloating)
      for (const bool everything : {false, true})
        compare(
            *cuda_, text("channel_activation ", x), dtype,
            [&](Side& s) {
              const auto inputs = operands(s, x, !everything, everything, 0.2);
              s.kernels<ChannelKernels>().channel_activation(inputs, s.image_result(x));
            },
            kTolerances);
}

TEST_F(CudaFused, ChannelActivationGradFromItsArgument) {
  for (const Shape& x : kImages)
    for (const DType dtype : {DType::f32, DType::f64})
      compare(
          *cuda_, text("channel_activation_grad ", x), dtype,
          [&](Side& s) {
            const Shape sums{x[0], 1, 1, x[3]};
            ChannelKernels::ActivationGradient in;
            in.g = s.image(x, 8);
            in.inputs = operands(s, x, false, true, 0.2);
            in.x_gradient = s.image_result(x);
            in.h = s.image_result(x);
            in.map = s.other_result({x[0], x[1], x[2], 1});
            in.sum_h = s.other_result(sums);
            in.sum_hx = s.other_result(sums);
            in.sum_gz = s.other_result(sums);
            s.kernels<ChannelKernels>().channel_activation_grad(in);
          },
          kTolerances);
}

TEST_F(CudaFused, ChannelActivationGradFromItsResult) {
  for (const Shape& x : kImages)
    for (const DType dtype : kFloating)
      for (const double slope : {0.2, 1.0})
        compare(
            *cuda_, text("channel_activation_grad ", x, " slope ", slope), dtype,
            [&](Side& s) {
              const Shape sums{x[0], 1, 1, x[3]};
              ChannelKernels::ActivationGradient in;
              in.g = s.image(x, 8);
              if (slope != 1) in.y = s.image(x, 9);
              in.inputs.x = s.image(x, 1);
              in.inputs.scale = s.other({1, 1, 1, x[3]}, 2);
              in.inputs.slope = slope;
              in.inputs.gain = 0.5;
              in.x_gradient = s.image_result(x);
              in.map = s.other_result({x[0], x[1], x[2], 1});
              in.sum_h = s.other_result(sums);
              in.sum_hx = s.other_result(sums);
              s.kernels<ChannelKernels>().channel_activation_grad(in);
            },
            kTolerances);
}

TEST_F(CudaFused, BatchNormAndItsGradient) {
  for (const Shape& x : kImages)
    for (const DType dtype : kFloating)
      compare(*cuda_, text("batch_norm ", x), dtype,
              [&](Side& s) {
                const Shape row{1, 1, 1, x[3]};
                auto& kernels = s.kernels<BatchNormKernels>();
                // Without the residual the sign of y would hang on rounding where a channel has few pixels.
                BatchNormKernels::Norm norm{.x = s.image(x, 1),
                                            .weight = s.other({x[3]}, 2),
                                            .bias = s.other({x[3]}, 3),
                                            .residual = s.image(x, 4),
                                            .eps = 1e-2,
                                            .slope = 1,
                                            .y = s.image_result(x),
                                            .mean = s.other_result(row),
                                            .variance = s.other_result(row),
                                            .r = s.other_result(row)};
                kernels.batch_norm(norm);
                BatchNormKernels::NormGradient gradient{.g = s.image(x, 5),
                                                        .y = s.image(x, 6),
                                                        .x = norm.x,
                                                        .weight = norm.weight,
                                                        .mean = norm.mean,
                                                        .r = norm.r,
                                                        .slope = 0.2,
                                                        .x_gradient = s.image_result(x),
                                                        .h = s.image_result(x),
                                                        .weight_gradient = s.other_result({x[3]}),
                                                        .bias_gradient = s.other_result({x[3]})};
                kernels.batch_norm_grad(gradient);
              },
              {1e-5, 1e-11, 8e-3});
}

TEST_F(CudaFused, FeatureDistanceAndItsGradient) {
  for (const Shape& x : kImages) {
    if (x[3] == 1) continue;  // every direction is the same then, and the gradient is rounding alone
    for (const DType dtype : kFloating)
      compare(
          *cuda_, text("feature_distance ", x), dtype,
          [&](Side& s) {
            auto& kernels = s.kernels<DistanceKernels>();
            const DistanceKernels::Distance in{s.image(x, 1), s.image(x, 2), s.other({x[3]}, 3)};
            kernels.feature_distance(in, s.other_result({x[0]}));
            kernels.feature_distance_grad(in, s.other({x[0]}, 4), s.image_result(x), s.image_result(x));
          },
          kTolerances);
  }
}

TEST_F(CudaFused, AdamOverManyArrays) {
  std::vector<Shape> shapes = {{3}, {}, {0}, {64, 3, 3, 64}, {8191}, {8192}, {8193}};
  for (int i = 0; i < 90; ++i) shapes.push_back({i + 1});  // more than one launch takes
  for (const DType dtype : {DType::f32, DType::f64})
    compare(
        *cuda_, "adam", dtype,
        [&](Side& s) {
          auto& kernels = s.kernels<AdamKernels>();
          const Tensor rate = Tensor::full({}, 1e-2, DType::f64, s.backend());
          const Tensor steps = Tensor::full({}, 3, DType::f64, s.backend());
          std::vector<In> gradients;
          for (std::size_t i = 0; i < shapes.size(); ++i)
            gradients.push_back(s.image(shapes[i], static_cast<unsigned>(i + 1)));
          const Out norm = s.image_result({});
          kernels.adam_norm(gradients, norm);
          std::vector<AdamKernels::AdamArray> arrays;
          for (std::size_t i = 0; i < shapes.size(); ++i) {
            Out updated[3];
            for (unsigned k = 0; k < 3; ++k) {
              updated[k] = s.image_result(shapes[i]);
              Values values = normals(shapes[i], 1000 * (k + 1) + static_cast<unsigned>(i));
              for (double& value : values) value = k == 2 ? value * value : value;
              s.results().back().assign(upload(values, shapes[i], updated[k].dtype, s.backend()));
            }
            arrays.push_back({gradients[i], updated[0], updated[1], updated[2], rate.in(), steps.in(), norm});
          }
          kernels.adam(arrays, {0.9, 0.999, 1e-8, 0.01, 1});
          s.backend().synchronize();
        },
        {3e-6, 1e-12, 0});
}

}  // namespace
}  // namespace om::cuda_check
