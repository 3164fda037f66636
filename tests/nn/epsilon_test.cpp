// The small constants under roots and in denominators. Each is met where the quantity beside it has the same
// size: the result is then sqrt(1/2) or 1/2 of what it would be without, and ten times more or less of the
// constant is far off.
#include <gtest/gtest.h>

#include <cmath>

#include "nn/batch_norm.h"
#include "nn/equalized.h"
#include "nn/modulated_conv.h"
#include "tensor/registry.h"

namespace om {
namespace {

const double kHalfRoot = std::sqrt(0.5);

Placement place() { return {backend("cpu"), DType::f64}; }

Tensor numbers(const Shape& shape, const std::vector<double>& values) {
  return Tensor::from_host(values, shape, backend("cpu"));
}

void set(const Module& module, const std::string& name, double value) {
  for (const Entry& entry : module.entries())
    if (entry.name == name) return entry.value.fill(value);
  FAIL() << name;
}

void expect_near(const Tensor& actual, const std::vector<double>& expected) {
  const std::vector<double> values = actual.to_host<double>();
  ASSERT_EQ(values.size(), expected.size());
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i], expected[i], 1e-9) << i;
}

TEST(Epsilon, OfPixelNormIs1e8th) {
  expect_near(pixel_norm(numbers({1, 2}, {1e-4, -1e-4})), {kHalfRoot, -kHalfRoot});
}

TEST(Epsilon, OfDemodulationIs1e8th) {
  for (const auto kind : {ModulatedConv::Kind::same, ModulatedConv::Kind::up}) {
    const ModulatedConv conv(place(), {1, 1, 1, 1, kind, true});
    set(conv, "weight", 1);
    set(conv, "modulation.bias", 1e-4);  // the style
    const Tensor style = conv.style(numbers({1, 1}, {0}));
    expect_near(conv.demodulation(style), {1e4 * kHalfRoot});
  }
}

TEST(Epsilon, OfBatchNormIs1e5th) {
  BatchNorm norm(place(), 1);
  set(norm, "running_var", 1e-5);
  expect_near(norm(numbers({1, 1, 1, 1}, {std::sqrt(1e-5)})), {kHalfRoot});
  norm.set_training(true);
  const double a = std::sqrt(1e-5);
  expect_near(norm(numbers({2, 1, 1, 1}, {a, -a})), {kHalfRoot, -kHalfRoot});
}

TEST(Epsilon, OfAdaptiveInstanceNormIs1e5th) {
  const AdaIn norm(place(), 1, 1);
  for (const Entry& entry : norm.entries())
    if (entry.name == "style.linear.bias") entry.value.assign(numbers({2}, {3, 0.5}));
  const double a = std::sqrt(1e-5);
  expect_near(norm(numbers({1, 1, 2, 1}, {7 + a, 7 - a}), numbers({1, 1}, {0})),
              {3 * kHalfRoot + 0.5, -3 * kHalfRoot + 0.5});
}

}  // namespace
}  // namespace om
