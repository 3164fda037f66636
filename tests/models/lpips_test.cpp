// LPIPS where its constants and its rounding show.
#include "models/lpips.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "tensor/registry.h"

namespace om {
namespace {

/// AlexNet of one channel whose first layer gives the image's grey value times 1e-9 and whose others give 0.
std::unique_ptr<Lpips> faint_net() {
  FileShapes backbone, heads;
  const std::vector<std::pair<int, std::int64_t>> layers = {{0, 11}, {3, 5}, {6, 3}, {8, 3}, {10, 3}};
  for (const auto& [i, kernel] : layers) {
    backbone[text("features.", i, ".weight")] = {1, i == 0 ? 3 : 1, kernel, kernel};
    backbone[text("features.", i, ".bias")] = {1};
  }
  for (int i = 0; i < 5; ++i) heads[text("lin", i, ".model.1.weight")] = {1, 1, 1, 1};
  auto lpips = std::make_unique<Lpips>(backbone, heads, Placement{backend("cpu"), DType::f64});
  for (const Entry& entry : lpips->entries()) {
    entry.value.fill(entry.name.find("model.1") != std::string::npos ? 1 : 0);
    if (entry.name != "backbone.features.0.weight") continue;
    std::vector<double> weight(11 * 11 * 3, 0.0);
    weight[(5 * 11 + 5) * 3] = 1e-9;  // the middle, red
    entry.value.assign(Tensor::from_host(weight, {1, 11, 11, 3}, backend("cpu")));
  }
  return lpips;
}

/// f / (|f| + 1e-10) for features near 1e-10.
TEST(Lpips, NormalisesWithAnEpsilonOf1e10th) {
  const auto lpips = faint_net();
  const Shape shape{1, 35, 35, 3};
  const auto unit = [](double red) {
    const double feature = (red + 0.030) / 0.458 * 1e-9;
    return feature / (feature + 1e-10);
  };
  const Tensor a = Tensor::full(shape, 0.0158, DType::f64, backend("cpu"));  // feature 1e-10
  const Tensor b = Tensor::full(shape, 0.5, DType::f64, backend("cpu"));
  EXPECT_NEAR(unit(0.0158), 0.5, 1e-9);
  EXPECT_NEAR((*lpips)(a, b).item(), std::pow(unit(0.5) - unit(0.0158), 2), 1e-9);
}

}  // namespace
}  // namespace om
