// Gradients where a function has a kink, and values where a formula would make NaN of a number. Differences
// cannot check these and no backend can be compared with another (the rule is one for all), so the numbers
// stand here.
#include <gtest/gtest.h>

#include <limits>

#include "autograd/fused.h"
#include "autograd/grad.h"
#include "autograd/ops.h"
#include "tensor/registry.h"

namespace om {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
using Floats = std::vector<float>;

class Edges : public testing::TestWithParam<const char*> {
 protected:
  Tensor leaf(const Floats& numbers) const {
    return require_grad(
        Tensor::from_host(numbers, {static_cast<std::int64_t>(numbers.size())}, backend(GetParam())));
  }
  static Floats gradient(const Tensor& y, const Tensor& x) { return grad({sum(y)}, {x})[0].to_host<float>(); }
};

TEST_P(Edges, ClampPassesTheGradientAtItsBounds) {
  const Tensor x = leaf({-2, -1, 0, 0.5F, 2});
  EXPECT_EQ(gradient(clamp(x, -1, 0.5), x), Floats({0, 1, 1, 1, 0}));
}

TEST_P(Edges, AmongEqualsTheFirstIsChosen) {
  const Tensor a = leaf({1, 2, 3}), b = leaf({2, 2, 2});
  const Floats first_of_max = {0, 1, 1}, second_of_max = {1, 0, 0};
  EXPECT_EQ(gradient(maximum(a, b), a), first_of_max);
  EXPECT_EQ(gradient(maximum(a, b), b), second_of_max);
  const Floats first_of_min = {1, 1, 0}, second_of_min = {0, 0, 1};
  EXPECT_EQ(gradient(minimum(a, b), a), first_of_min);
  EXPECT_EQ(gradient(minimum(a, b), b), second_of_min);
}

TEST_P(Edges, AtZeroTheSlopeCounts) {
  const Tensor x = leaf({-1, 0, 1});
  EXPECT_EQ(gradient(relu(x), x), Floats({0, 0, 1}));
  EXPECT_EQ(gradient(leaky_relu(x, 0.25), x), Floats({0.25F, 0.25F, 1}));
  EXPECT_EQ(gradient(abs(x), x), Floats({-1, 0, 1}));
}

TEST_P(Edges, ReluOfMinusInfinityIsZero) {
  const Tensor x = leaf({-kInf, kInf, -1, 2});
  EXPECT_EQ(relu(x).to_host<float>(), Floats({0, kInf, 0, 2}));
  EXPECT_EQ(gradient(relu(x), x), Floats({0, 1, 0, 1}));
  EXPECT_EQ(leaky_relu(x, 0.5).to_host<float>(), Floats({-kInf, kInf, -0.5F, 2}));
  const Tensor image = reshape(x, {1, 1, 1, 4});
  EXPECT_EQ(channel_activation(image, {.slope = 0, .gain = 2}).to_host<float>(), Floats({0, kInf, 0, 4}));
}

TEST_P(Edges, DuplicatesAddUp) {
  Backend& on = backend(GetParam());
  const Tensor index = Tensor::from_host(std::vector<std::int32_t>{2, 0, 2, 2}, {1, 4}, on);
  const Tensor x = require_grad(Tensor::from_host(Floats{1, 2, 4, 8}, {1, 4}, on));
  EXPECT_EQ(scatter_add(x, index, 4).to_host<float>(), Floats({2, 0, 13, 0}));
  EXPECT_EQ(gather(x, index).to_host<float>(), Floats({4, 1, 4, 4}));
  EXPECT_EQ(grad({sum(gather(x, index))}, {x})[0].to_host<float>(), Floats({1, 0, 3, 0}));
}

INSTANTIATE_TEST_SUITE_P(Backends, Edges, testing::Values("reference", "cpu"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace om
