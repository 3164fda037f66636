// max_pool2d, values and indices, and upfirdn2d.
#include <cmath>
#include <limits>

#include "tests/cases/kernels.h"

namespace om::cases {
namespace {

struct Pooling {
  const char* name;
  Shape x;
  std::int64_t height, width;
  Pool2dParams params;
};

/// Many ties; NaN and both infinities, whole windows of minus infinity among them.
Input pool_specials(const Shape& shape) {
  std::vector<double> numbers;
  for (std::int64_t i = 0; i < shape.elements(); ++i)
    numbers.push_back(static_cast<double>(i * 7919 % 8) - 4);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (i % 7 == 3) numbers[i] = std::numeric_limits<double>::quiet_NaN();
    if (i % 5 == 1 || i % 64 < 20) numbers[i] = -std::numeric_limits<double>::infinity();
    if (i % 31 == 30) numbers[i] = std::numeric_limits<double>::infinity();
  }
  return values(shape, numbers);
}

void add_pooling(std::vector<Case>& cases) {
  const std::vector<Pooling> table = {
      {"2x2", {2, 8, 6, 33}, 4, 3, {2, 2, 2, 2, 0, 0}},
      {"ceil", {2, 8, 6, 5}, 4, 3, {3, 3, 2, 2, 0, 0}},  // windows are clipped
      {"pad", {1, 7, 7, 40}, 4, 4, {3, 3, 2, 2, 1, 1}},
      {"stride_h2_w1", {2, 7, 5, 3}, 4, 5, {3, 3, 2, 1, 1, 1}},
      {"one_channel", {3, 5, 9, 1}, 4, 9, {2, 3, 1, 1, 0, 1}},
      {"no_samples", {0, 4, 4, 3}, 2, 2, {2, 2, 2, 2, 0, 0}},
      {"large", {1, 40, 40, 100}, 20, 20, {2, 2, 2, 2, 0, 0}},
  };
  for (const Pooling& c : table)
    for (const bool special : {false, true}) {
      const Shape y{c.x[0], c.height, c.width, c.x[3]};
      const Input x = special ? pool_specials(c.x) : normal(c.x);
      const std::string variant = text(c.name, special ? "_special" : "");
      cases.push_back(nonfinite(
          exact_in(floating_dtypes(), kernel_case("max_pool2d/" + variant, {x}, y, {},
                                                  [c, y](Backend& b, const std::vector<In>& in, Out out) {
                                                    const Tensor index = Tensor::empty(y, DType::i32, b);
                                                    b.max_pool2d(in[0], out, index.out(), c.params);
                                                  }))));
      cases.push_back(
          exact_in(floating_dtypes(), kernel_case("max_pool2d_index/" + variant, {x}, y, DType::i32,
                                                  [c, y](Backend& b, const std::vector<In>& in, Out out) {
                                                    const Tensor value = Tensor::empty(y, in[0].dtype, b);
                                                    b.max_pool2d(in[0], value.out(), out, c.params);
                                                  })));
    }
}

struct Filtering {
  const char* name;
  Shape x, filter;
  std::vector<double> taps;  ///< empty: random
  UpFirDnParams params;
};

/// An outer product, exact in float.
std::vector<double> outer(const std::vector<double>& u, const std::vector<double>& v) {
  std::vector<double> taps;
  for (const double a : u)
    for (const double b : v) taps.push_back(a * b / 64);
  return taps;
}

/// The outer product with one tap off by `error` of the largest. A backend that splits separable filters into
/// a column and a row must not take this for one.
std::vector<double> nearly_separable(double error) {
  std::vector<double> taps = outer({1, 3, 3, 1}, {1, 3, 3, 1});
  taps[1] += error * 9 / 64;
  return taps;
}

void add_filters(std::vector<Case>& cases) {
  const std::vector<double> smooth = outer({1, 3, 3, 1}, {1, 3, 3, 1});
  // up, down (h, w), pads top, bottom, left, right, flip
  const std::vector<Filtering> table = {
      {"blur", {2, 17, 16, 33}, {4, 4}, smooth, {1, 1, 1, 1, 1, 1, 1, 1, false}},
      {"blur_large_flip", {1, 33, 300, 70}, {4, 4}, smooth, {1, 1, 1, 1, 1, 1, 1, 1, true}},
      {"separable_rectangle",
       {1, 9, 12, 5},
       {2, 5},
       outer({1, -2}, {1, 2, 4, -3, 1}),
       {1, 1, 1, 1, 1, 1, 2, 2, false}},
      {"separable_flip", {1, 9, 12, 5}, {3, 2}, outer({1, 5, 2}, {1, -3}), {2, 2, 1, 1, 1, 1, 1, 1, true}},
      {"up2_rgb", {2, 16, 15, 3}, {4, 4}, smooth, {2, 2, 1, 1, 2, 1, 2, 1, false}},
      {"down2", {2, 15, 16, 40}, {4, 4}, smooth, {1, 1, 2, 2, 1, 1, 1, 1, false}},
      {"random", {1, 9, 8, 5}, {4, 4}, {}, {1, 1, 1, 1, 1, 2, 2, 1, false}},
      {"mixed_factors", {1, 9, 8, 5}, {3, 7}, {}, {3, 2, 2, 3, 4, 3, 5, 2, true}},
      {"crop", {2, 9, 8, 4}, {5, 1}, {}, {2, 1, 1, 2, -3, 4, -2, -1, false}},
      {"crop_all_sides", {1, 12, 12, 3}, {2, 2}, {}, {1, 1, 1, 1, -4, -3, -2, -5, false}},
      {"one_tap", {1, 3, 3, 2}, {1, 1}, {}, {4, 3, 1, 2, 0, 0, 0, 0, false}},
      {"wide_pads", {1, 2, 2, 2}, {6, 5}, {}, {1, 1, 1, 1, 9, 9, 9, 9, false}},
      {"zeros", {1, 5, 5, 3}, {3, 3}, std::vector<double>(9, 0.0), {1, 1, 1, 1, 1, 1, 1, 1, false}},
      {"no_samples", {0, 4, 4, 2}, {4, 4}, smooth, {1, 1, 1, 1, 2, 2, 2, 2, false}},
  };
  const auto kernel_of = [](const UpFirDnParams& p) {
    return [p](Backend& b, const std::vector<In>& x, Out y) { b.upfirdn2d(x[0], x[1], y, p); };
  };
  const auto result_of = [](const Shape& x, const Shape& filter, const UpFirDnParams& p) {
    const auto size = [](std::int64_t n, std::int64_t up, std::int64_t pads, std::int64_t taps,
                         std::int64_t down) { return (n * up + pads - taps) / down + 1; };
    return Shape{x[0], size(x[1], p.up_h, p.pad_top + p.pad_bottom, filter[0], p.down_h),
                 size(x[2], p.up_w, p.pad_left + p.pad_right, filter[1], p.down_w), x[3]};
  };
  for (const Filtering& c : table) {
    const Input taps = c.taps.empty() ? exact(uniform(c.filter, -2, 2)) : values(c.filter, c.taps);
    const Shape y = result_of(c.x, c.filter, c.params);
    cases.push_back(
        within(4, kernel_case(text("upfirdn2d/", c.name), {uniform(c.x, -2, 2), of_dtype(DType::f32, taps)},
                              y, {}, kernel_of(c.params))));
    Case wide =
        within(4, kernel_case(text("upfirdn2d/", c.name, "_f64_filter"),
                              {uniform(c.x, -2, 2), of_dtype(DType::f64, taps)}, y, {}, kernel_of(c.params)));
    wide.dtypes = {DType::f64};
    cases.push_back(wide);
  }
  // Measured against the largest result and below what a product in place of the filter would get wrong,
  // which is about error / 4. (The filter is float's: rounding it is an error of 1e-8.)
  const UpFirDnParams blur{1, 1, 1, 1, 1, 1, 1, 1, false};
  const Shape x{1, 11, 10, 20}, y = result_of(x, {4, 4}, blur);
  for (const auto& [name, error] :
       {std::pair("1e-2", 1e-2), std::pair("1e-4", 1e-4), std::pair("1e-5", 1e-5)}) {
    Case c = kernel_case(text("upfirdn2d/nearly_separable_", name),
                         {uniform(x, 1, 2), of_dtype(DType::f32, values({4, 4}, nearly_separable(error)))}, y,
                         {}, kernel_of(blur));
    c.scale = harness::Rule::Scale::largest;
    c.tolerance = 5e-7;
    c.tolerance_f64 = 4e-15;
    cases.push_back(c);
  }
  Case fine = kernel_case("upfirdn2d/nearly_separable_1e-10_f64_filter",
                          {uniform(x, 1, 2), of_dtype(DType::f64, values({4, 4}, nearly_separable(1e-10)))},
                          y, {}, kernel_of(blur));
  fine.dtypes = {DType::f64};
  fine.scale = harness::Rule::Scale::largest;
  fine.tolerance_f64 = 1e-13;
  cases.push_back(fine);
}

}  // namespace

std::vector<Case> image_kernel_cases() {
  std::vector<Case> cases;
  add_pooling(cases);
  add_filters(cases);
  return cases;
}

}  // namespace om::cases
