// Cases of max pooling, gather and scatter_add.
#include "autograd/ops.h"
#include "tests/cases/case.h"

namespace om::cases {
namespace {

constexpr std::uint8_t kBoth = kConformance | kGradcheck;

void add_pooling(std::vector<Case>& cases) {
  const auto pool = [&](const char* variant, Input input, const Pool2d& options, std::uint8_t drivers = kBoth,
                        int order = 2) {
    cases.push_back({.name = std::string("max_pool2d/") + variant,
                     .inputs = {std::move(input)},
                     .function = [=](const Inputs& x) { return max_pool2d(x[0], options); },
                     .order = order,
                     .drivers = drivers,
                     .nonfinite = order == 0});
  };
  pool("2x2", distinct({2, 4, 6, 3}), {});
  pool("2x2_odd", distinct({1, 5, 7, 2}), {});
  pool("3x3_stride2", distinct({1, 7, 9, 2}), {3, 2, 0});
  pool("3x3_stride2_pad1", distinct({1, 8, 7, 2}), {3, 2, 1});
  pool("3x3_stride1_pad1", distinct({1, 4, 5, 2}), {3, 1, 1});
  pool("ceil_exact", distinct({1, 7, 7, 2}), {3, 2, 0, true});
  pool("ceil_hangs_over", distinct({1, 8, 6, 2}), {3, 2, 0, true});
  pool("ceil_pad1", distinct({1, 8, 7, 2}), {3, 2, 1, true});
  pool("ceil_window_in_padding", distinct({1, 5, 5, 2}), {2, 3, 1, true});
  pool("ceil_smaller_than_kernel", distinct({1, 2, 1, 3}), {3, 2, 0, true});
  pool("stride_beyond_kernel", distinct({1, 8, 7, 2}), {2, 3, 0});
  pool("1x1", distinct({1, 3, 3, 2}), {1, 1, 0});
  pool("negative", uniform({1, 4, 4, 2}, -3, -1), {3, 2, 1});
  pool("size1", distinct({1, 1, 1, 1}), {1, 1, 0});
  pool("no_samples", distinct({0, 4, 4, 2}), {});
  pool("no_pixels", distinct({1, 0, 4, 2}), {2, 2, 1, true});
  pool("kernel_too_large", distinct({1, 2, 4, 2}), {3, 2, 0});
  pool("ties", values({1, 2, 4, 1}, {1, 1, -2, -2, 1, 1, -2, -3}), {}, kConformance, 1);
  pool("large", distinct({2, 37, 35, 33}), {3, 2, 1}, kConformance);
  pool("large_2x2", distinct({2, 38, 36, 33}), {}, kConformance);
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  pool("special", values({1, 2, 6, 1}, {nan, 1, -inf, -inf, 2, inf, 3, 4, -inf, -inf, nan, inf}), {},
       kConformance, 0);
}

void add_indexing(std::vector<Case>& cases) {
  const auto pick = [&](const char* variant, const Shape& x, const Shape& i, std::uint8_t drivers = kBoth) {
    cases.push_back({.name = std::string("gather/") + variant,
                     .inputs = {normal(x), index(i, x[1])},
                     .function = [](const Inputs& in) { return gather(in[0], in[1]); },
                     .drivers = drivers});
  };
  pick("duplicates", {3, 5}, {3, 9});
  pick("few", {2, 11}, {2, 3});
  pick("size1", {1, 1}, {1, 1});
  pick("nothing", {2, 3}, {2, 0});
  pick("no_rows", {0, 3}, {0, 4});
  pick("large", {3, 1237}, {3, 40961}, kConformance);

  const auto scatter = [&](const char* variant, const Shape& x, std::int64_t size,
                           std::uint8_t drivers = kBoth) {
    cases.push_back({.name = std::string("scatter_add/") + variant,
                     .inputs = {normal(x), index(x, size)},
                     .function = [size](const Inputs& in) { return scatter_add(in[0], in[1], size); },
                     .tolerance = 5e-6,
                     .drivers = drivers});
  };
  scatter("duplicates", {3, 9}, 5);
  scatter("sparse", {2, 3}, 11);
  scatter("size1", {1, 1}, 1);
  scatter("nothing", {2, 0}, 3);
  scatter("no_rows", {0, 4}, 3);
  scatter("large", {3, 40961}, 1237, kConformance);
}

}  // namespace

std::vector<Case> indexing_cases() {
  std::vector<Case> cases;
  add_pooling(cases);
  add_indexing(cases);
  return cases;
}

}  // namespace om::cases
