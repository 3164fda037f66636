// Cases of sums, means and the maximum.
#include "autograd/ops.h"
#include "tests/cases/case.h"

namespace om::cases {
namespace {

constexpr std::uint8_t kBoth = kConformance | kGradcheck;

void add_sums(std::vector<Case>& cases) {
  const auto total = [&](const char* variant, const Shape& shape, std::uint8_t drivers = kBoth) {
    cases.push_back({.name = std::string("sum/") + variant,
                     .inputs = {normal(shape)},
                     .function = [](const Inputs& x) { return sum(x[0]); },
                     .drivers = drivers});
    cases.push_back({.name = std::string("mean/") + variant,
                     .inputs = {uniform(shape, 0, 1)},
                     .function = [](const Inputs& x) { return mean(x[0]); },
                     .order = shape.elements() == 0 ? 0 : 2,
                     .drivers = drivers,
                     .nonfinite = shape.elements() == 0});  // 0 / 0
  };
  total("all", {3, 5, 7});
  total("all_of_scalar", {});
  total("all_of_one", {1, 1});
  total("all_of_nothing", {0, 3});
  total("all_large", {3, 41, 41, 23}, kConformance);

  const auto along = [&](const char* variant, const Shape& shape, const std::vector<int>& dimensions,
                         std::uint8_t drivers = kBoth) {
    cases.push_back({.name = std::string("sum/") + variant,
                     .inputs = {normal(shape)},
                     .function = [=](const Inputs& x) { return sum(x[0], dimensions); },
                     .drivers = drivers});
    cases.push_back({.name = std::string("mean/") + variant,
                     .inputs = {normal(shape)},
                     .function = [=](const Inputs& x) { return mean(x[0], dimensions); },
                     .drivers = drivers});
  };
  along("rows", {5, 7}, {0});
  along("columns", {5, 7}, {-1});
  along("middle", {3, 5, 7}, {1});
  along("batch_norm", {3, 4, 5, 7}, {0, 1, 2});
  along("instance_norm", {3, 4, 5, 7}, {1, 2});
  along("alternating", {2, 3, 2, 5}, {1, 3});
  along("outer_and_inner", {2, 3, 2, 5}, {0, 3});
  along("none", {2, 3}, {});
  along("size1", {1, 4, 1}, {0, 2});
  along("to_empty", {3, 0, 2}, {0});
  along("batch_norm_large", {4, 33, 31, 37}, {0, 1, 2}, kConformance);
  along("instance_norm_large", {4, 33, 31, 37}, {1, 2}, kConformance);
  along("pixel_norm_large", {1023, 129}, {1}, kConformance);
  along("rows_large", {1023, 129}, {0}, kConformance);
  along("one_channel_large", {2, 255, 255, 1}, {0, 1, 2}, kConformance);
  cases.push_back({.name = "sum/of_nothing", .inputs = {normal({3, 0, 2})}, .function = [](const Inputs& x) {
                     return sum(x[0], {1});
                   }});
}

void add_others(std::vector<Case>& cases) {
  const auto down = [&](const char* variant, const Shape& from, const Shape& to,
                        std::uint8_t drivers = kBoth) {
    cases.push_back({.name = std::string("sum_to/") + variant,
                     .inputs = {normal(from)},
                     .function = [to](const Inputs& x) { return sum_to(x[0], to); },
                     .drivers = drivers});
  };
  down("channels", {2, 3, 4, 5}, {5});
  down("samples", {2, 3, 4, 5}, {2, 1, 1, 5});
  down("alternating", {2, 3, 4, 5}, {3, 1, 5});
  down("scalar", {2, 3}, {});
  down("empty", {0, 3}, {3});
  down("large", {3, 41, 41, 23}, {23}, kConformance);

  const auto largest = [&](const char* variant, Input input, bool nonfinite = false) {
    cases.push_back({.name = std::string("max/") + variant,
                     .inputs = {std::move(input)},
                     .function = [](const Inputs& x) { return max(x[0]); },
                     .order = 0,
                     .tolerance = 0,
                     .tolerance_bf16 = 1e-9,
                     .nonfinite = nonfinite});
  };
  largest("all", normal({3, 5, 7}));
  largest("negative", uniform({2, 11}, -3, -1));
  largest("scalar", normal({}));
  largest("large", normal({3, 41, 41, 23}));
  largest("of_nothing", normal({0, 3}), true);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  largest("with_nan", values({5}, {1, 2, nan, 7, 3}), true);
}

}  // namespace

std::vector<Case> reduction_cases() {
  std::vector<Case> cases;
  add_sums(cases);
  add_others(cases);
  return cases;
}

}  // namespace om::cases
