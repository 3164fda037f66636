// Cases of the ops that only move elements. They must be exact, so their tolerance is 0.
#include "autograd/ops.h"
#include "tests/cases/case.h"

namespace om::cases {
namespace {

void add(std::vector<Case>& cases, const std::string& name, std::vector<Input> inputs, Function f,
         std::uint8_t drivers = kConformance | kGradcheck) {
  // The derivatives of broadcast, and of whatever reads an element twice, are sums.
  const bool sums = name.starts_with("broadcast") || name.starts_with("concat");
  cases.push_back({.name = name,
                   .inputs = std::move(inputs),
                   .function = std::move(f),
                   .tolerance = sums ? 2e-6 : 0,
                   .tolerance_bf16 = sums ? 0.02 : 1e-9,
                   .drivers = drivers});
}

void add_reshape(std::vector<Case>& cases) {
  add(cases, "reshape/flatten", {normal({2, 3, 5})}, [](const Inputs& x) { return reshape(x[0], {30}); });
  add(cases, "reshape/split", {normal({12, 3})}, [](const Inputs& x) { return reshape(x[0], {2, 6, 1, 3}); });
  add(cases, "reshape/scalar", {normal({1, 1})}, [](const Inputs& x) { return reshape(x[0], {}); });
  add(cases, "reshape/empty", {normal({0, 3})}, [](const Inputs& x) { return reshape(x[0], {5, 0}); });
}

void add_permute(std::vector<Case>& cases) {
  const auto one = [&](const char* variant, const Shape& shape, const std::vector<int>& order,
                       std::uint8_t drivers = kConformance | kGradcheck) {
    add(
        cases, std::string("permute/") + variant, {normal(shape)},
        [order](const Inputs& x) { return permute(x[0], order); }, drivers);
  };
  one("transpose", {3, 5}, {1, 0});
  one("nchw_to_nhwc", {2, 3, 4, 5}, {0, 2, 3, 1});
  one("nhwc_to_nchw", {2, 4, 5, 3}, {0, 3, 1, 2});
  one("cycle", {2, 3, 5}, {2, 0, 1});
  one("from_the_back", {2, 3, 5}, {-1, 0, -2});
  one("identity", {2, 3}, {0, 1});
  one("five", {2, 1, 3, 2, 2}, {4, 2, 0, 3, 1});
  one("size1", {1, 1, 1}, {2, 1, 0});
  one("scalar", {}, {});
  one("empty", {2, 0, 3}, {2, 1, 0});
  one("large", {3, 37, 61, 19}, {0, 3, 1, 2}, kConformance);
  one("large_transpose", {311, 257}, {1, 0}, kConformance);
}

void add_slices(std::vector<Case>& cases) {
  const auto cut = [&](const char* variant, const Shape& shape, int d, std::int64_t start, std::int64_t size,
                       std::uint8_t drivers = kConformance | kGradcheck) {
    add(
        cases, std::string("slice/") + variant, {normal(shape)},
        [=](const Inputs& x) { return slice(x[0], d, start, size); }, drivers);
  };
  cut("first", {5, 3}, 0, 1, 3);
  cut("middle", {2, 5, 3}, 1, 0, 2);
  cut("last", {2, 3, 7}, -1, 4, 3);
  cut("one", {4, 3}, 0, 2, 1);
  cut("nothing", {4, 3}, 0, 2, 0);
  cut("empty", {0, 3}, 1, 1, 2);
  cut("large", {3, 41, 41, 23}, 2, 5, 31, kConformance);

  const auto extend = [&](const char* variant, const Shape& shape, int d, std::int64_t before,
                          std::int64_t after, std::uint8_t drivers = kConformance | kGradcheck) {
    add(
        cases, std::string("pad/") + variant, {normal(shape)},
        [=](const Inputs& x) { return pad(x[0], d, before, after); }, drivers);
  };
  extend("first", {2, 3}, 0, 1, 2);
  extend("last", {2, 3}, -1, 3, 0);
  extend("after", {2, 3, 2}, 1, 0, 2);
  extend("empty", {0, 3}, 0, 1, 1);
  extend("large", {3, 41, 37, 23}, 2, 2, 2, kConformance);

  const auto reversed = [&](const char* variant, const Shape& shape, const std::vector<int>& dimensions,
                            std::uint8_t drivers = kConformance | kGradcheck) {
    add(
        cases, std::string("flip/") + variant, {normal(shape)},
        [=](const Inputs& x) { return flip(x[0], dimensions); }, drivers);
  };
  reversed("one", {3, 4}, {0});
  reversed("width", {2, 3, 5, 2}, {2});
  reversed("two", {2, 3, 5, 2}, {1, -2});
  reversed("all", {3, 4}, {0, 1});
  reversed("none", {3}, {});
  reversed("empty", {3, 0}, {0, 1});
  reversed("large", {3, 41, 41, 23}, {2}, kConformance);
}

void add_joins(std::vector<Case>& cases) {
  add(cases, "concat/first", {normal({2, 3}), normal({1, 3}), normal({3, 3})},
      [](const Inputs& x) { return concat(x, 0); });
  add(cases, "concat/last", {normal({2, 3}), normal({2, 4})}, [](const Inputs& x) { return concat(x, -1); });
  add(cases, "concat/channels", {normal({2, 3, 3, 4}), normal({2, 3, 3, 1})},
      [](const Inputs& x) { return concat(x, 3); });
  add(cases, "concat/twice_the_same", {normal({2, 3})}, [](const Inputs& x) {
    return concat({x[0], x[0]}, 1);
  });
  add(cases, "concat/with_empty", {normal({2, 0}), normal({2, 3})},
      [](const Inputs& x) { return concat(x, 1); });
  add(
      cases, "concat/large", {normal({2, 61, 61, 13}), normal({2, 61, 61, 8})},
      [](const Inputs& x) { return concat(x, 3); }, kConformance);

  const auto expand = [&](const char* variant, const Shape& from, const Shape& to,
                          std::uint8_t drivers = kConformance | kGradcheck) {
    add(
        cases, std::string("broadcast/") + variant, {normal(from)},
        [to](const Inputs& x) { return broadcast(x[0], to); }, drivers);
  };
  expand("last", {3, 1}, {3, 5});
  expand("leading", {5}, {2, 3, 5});
  expand("image", {2, 1, 1, 3}, {2, 4, 5, 3});
  expand("alternating", {2, 1, 3, 1}, {2, 2, 3, 4});
  expand("scalar", {}, {2, 3});
  expand("size1", {1}, {1, 1});
  expand("to_empty", {1, 3}, {0, 3});
  expand("large", {3, 1, 1, 23}, {3, 41, 41, 23}, kConformance);
}

}  // namespace

std::vector<Case> shape_cases() {
  std::vector<Case> cases;
  add_reshape(cases);
  add_permute(cases);
  add_slices(cases);
  add_joins(cases);
  return cases;
}

}  // namespace om::cases
