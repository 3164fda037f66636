// Kernels that move, gather, add up and draw elements: strided_copy, gather, scatter_add, reduce, random.
#include <array>
#include <cmath>
#include <limits>

#include "tests/cases/kernels.h"

namespace om::cases {
namespace {

const double kNan = std::numeric_limits<double>::quiet_NaN();
const double kInf = std::numeric_limits<double>::infinity();

struct Copy {
  const char* name;
  Shape x, y, extent;
  std::int64_t x_offset, y_offset;
  Strides x_strides, y_strides;
};

const std::vector<Copy>& copies() {
  static const std::vector<Copy> table = {
      {"whole", {7, 33}, {7, 33}, {7, 33}, 0, 0, {33, 1}, {33, 1}},
      // clang-format off
      {"nhwc_to_nchw", {2, 37, 45, 19}, {2, 19, 37, 45}, {2, 19, 37, 45}, 0, 0,
       {37 * 45 * 19, 1, 45 * 19, 19}, {19 * 37 * 45, 37 * 45, 45, 1}},
      {"nhwc_to_nchw_in_order_of_x", {2, 37, 45, 19}, {2, 19, 37, 45}, {2, 37, 45, 19}, 0, 0,
       {37 * 45 * 19, 45 * 19, 19, 1}, {19 * 37 * 45, 45, 1, 37 * 45}},
      {"nchw_to_nhwc_3_channels", {2, 3, 64, 99}, {2, 64, 99, 3}, {2, 64, 99, 3}, 0, 0,
       {3 * 64 * 99, 99, 1, 64 * 99}, {64 * 99 * 3, 99 * 3, 3, 1}},
      {"transpose", {130, 257}, {257, 130}, {257, 130}, 0, 0, {1, 257}, {130, 1}},
      {"flip_both_axes", {30, 71, 5}, {30, 71, 5}, {30, 71, 5}, 29 * 355 + 70 * 5, 0,
       {-355, -5, 1}, {355, 5, 1}},
      {"reverse_a_line", {50000}, {50000}, {50000}, 49999, 0, {-1}, {1}},
      {"reversed_transpose", {40, 50}, {50, 40}, {50, 40}, 49, 0, {-1, 50}, {40, 1}},
      {"broadcast_last", {300, 1}, {300, 70}, {300, 70}, 0, 0, {1, 0}, {70, 1}},
      {"broadcast_first", {1, 70}, {300, 70}, {300, 70}, 0, 0, {0, 1}, {70, 1}},
      {"broadcast_middle", {20, 1, 3}, {20, 333, 3}, {20, 333, 3}, 0, 0, {3, 0, 1}, {999, 3, 1}},
      {"broadcast_scalar", {}, {70, 30}, {70, 30}, 0, 0, {0, 0}, {30, 1}},
      {"slice_and_pad", {2, 20, 30, 8}, {2, 24, 40, 8}, {2, 11, 17, 8}, 5 * 240 + 3 * 8, 7 * 320 + 9 * 8,
       {4800, 240, 8, 1}, {7680, 320, 8, 1}},
      {"slice", {9, 11, 13}, {4, 5, 6}, {4, 5, 6}, 2 * 143 + 3 * 13 + 1, 0, {143, 13, 1}, {30, 6, 1}},
      {"every_second", {100, 101}, {50, 51}, {50, 51}, 0, 0, {202, 2}, {51, 1}},
      {"every_third_from_31", {20, 30}, {7, 10}, {7, 10}, 31, 0, {60, 3}, {10, 1}},
      {"into_every_third", {51, 7}, {153, 7}, {51, 7}, 0, 7, {7, 1}, {21, 1}},
      {"reversed_into_every_second", {3, 5, 7}, {105}, {4, 3, 3}, 34, 3, {-7, 35, -1}, {20, 2, 6}},
      {"eight_dimensions", {2, 3, 2, 3, 2, 3, 2, 3}, {3, 2, 3, 2, 3, 2, 3, 2}, {3, 2, 3, 2, 3, 2, 3, 2}, 0, 0,
       {1, 3, 6, 18, 36, 108, 216, 648}, {432, 216, 72, 36, 12, 6, 2, 1}},
      // clang-format on
      // clang-format off
      {"strides_that_say_nothing", {7, 5}, {1, 7, 1, 5}, {1, 7, 1, 5}, 0, 0,
       {1 << 30, 5, -(1 << 29), 1, 1 << 28, -7, 1 << 27, 13}, {-(1 << 30), 5, 1 << 29, 1, -3, 1 << 28, 9, -1}},
      // clang-format on
      {"scalar", {}, {4}, {}, 0, 2, {}, {}},
      {"nothing", {3, 0}, {3, 4}, {3, 0}, 0, 0, {0, 1}, {4, 1}},
      {"nothing_of_something", {3, 5, 7}, {105}, {4, 0, 3}, 0, 0, {1, 1, 1}, {1, 1, 1}},
  };
  return table;
}

void add_copies(std::vector<Case>& cases) {
  for (const Copy& c : copies())  // y keeps what no index reaches
    cases.push_back(
        exact_in(all_dtypes(), kernel_case_over_first(text("strided_copy/", c.name),
                                                      {integers(c.y, 200, 250), integers(c.x, 0, 200)},
                                                      [c](Backend& b, const std::vector<In>& x, Out y) {
                                                        b.strided_copy(x[1], c.x_offset, c.x_strides, y,
                                                                       c.y_offset, c.y_strides, c.extent);
                                                      })));
  cases.push_back(
      nonfinite(exact_in(floating_dtypes(), kernel_case("strided_copy/special", {special_numbers()}, {14}, {},
                                                        [](Backend& b, const std::vector<In>& x, Out y) {
                                                          b.strided_copy(x[0], 13, {-1}, y, 0, {1}, {14});
                                                        }))));
}

void add_indexing(std::vector<Case>& cases) {
  const Kernel gather = [](Backend& b, const std::vector<In>& x, Out y) { b.gather(x[0], x[1], y); };
  const Kernel scatter = [](Backend& b, const std::vector<In>& x, Out y) { b.scatter_add(x[0], x[1], y); };
  for (const auto& [n, s, m] : std::vector<std::array<std::int64_t, 3>>{{1, 1, 1},
                                                                        {2, 50, 7},
                                                                        {3, 35, 11},
                                                                        {1, 30000, 9000},
                                                                        {5, 100, 20001},
                                                                        {1, 40000, 13},
                                                                        {3, 4, 0},
                                                                        {0, 4, 4}}) {
    const std::string name = text("/", n, "x", s, "_", m);
    cases.push_back(exact_in(
        all_dtypes(),
        kernel_case("gather" + name, {integers({n, s}, 0, 250), index({n, m}, s)}, {n, m}, {}, gather)));
    cases.push_back(within(10, kernel_case("scatter_add" + name, {uniform({n, m}, -2, 2), index({n, m}, s)},
                                           {n, s}, {}, scatter)));
  }
  // One target gets all, the next none, the last one: whole numbers, so every order gives the same sum.
  std::vector<double> places(300, 1);
  places.back() = 3;
  cases.push_back(
      exact_in({DType::f32, DType::f64},
               kernel_case("scatter_add/all_to_one",
                           {integers({1, 300}, -9, 9), of_dtype(DType::i32, values({1, 300}, places))},
                           {1, 4}, {}, scatter)));
  // Tens of thousands to each target: whatever order a device's atomics come in, the bits repeat.
  cases.push_back(
      within(40, kernel_case("scatter_add/many_to_few", {uniform({1, 200003}, -2, 2), index({1, 200003}, 5)},
                             {1, 5}, {}, scatter)));
  // At the edges of the parts that a backend may cut the targets into.
  cases.push_back(exact_in(
      {DType::f32, DType::f64},
      kernel_case("scatter_add/many_targets", {integers({1, 70001}, -9, 9), index({1, 70001}, 65537)},
                  {1, 65537}, {}, scatter)));
  cases.push_back(nonfinite(kernel_case("scatter_add/special",
                                        {values({1, 6}, {1, kNan, kInf, kInf, -kInf, 2}),
                                         of_dtype(DType::i32, values({1, 6}, {0, 1, 2, 3, 3, 4}))},
                                        {1, 6}, {}, scatter)));
}

void add_reductions(std::vector<Case>& cases) {
  const Shape image{3, 17, 19, 65}, rgb{2, 90, 91, 3}, deep{2, 3, 2, 3, 2, 3, 2, 3};
  const std::vector<std::pair<Shape, Shape>> shapes = {
      {image, {1, 1, 1, 65}},
      {image, {3, 1, 1, 65}},
      {image, {3, 17, 19, 1}},
      {image, {1, 1, 1, 1}},
      {image, {1, 17, 19, 1}},
      {image, {3, 1, 19, 1}},
      {image, {1, 17, 1, 65}},
      {image, image},
      {rgb, {1, 1, 1, 3}},
      {rgb, {2, 90, 91, 1}},
      {{2, 60, 61, 67}, {2, 1, 1, 67}},
      {{16, 128, 128, 3}, {1, 1, 1, 3}},
      {{300001}, {1}},
      {{1000}, {1}},
      {{30, 2500}, {1, 2500}},
      {{3, 2500}, {3, 1}},
      {{100000, 2}, {100000, 1}},
      {{0, 4}, {1, 4}},
      {{3, 0}, {3, 1}},
      {{0, 4}, {0, 1}},
      {{4, 0}, {4, 0}},
      {{}, {}},
      {{200000, 1}, {1, 1}},
      {deep, {1, 3, 1, 3, 1, 3, 1, 3}},
  };
  for (const auto& [op, name] : enumerators<ReduceOp>()) {
    const Kernel kernel = [op = op](Backend& b, const std::vector<In>& x, Out y) { b.reduce(op, x[0], y); };
    for (const auto& [x, y] : shapes) {
      const std::string base = text("reduce/", name, "_", shape_name(x), "_to_", shape_name(y));
      const auto add = [&](const std::string& variant, std::vector<DType> dtypes, std::optional<DType> to) {
        Case c = nonfinite(within(3, kernel_case(base + variant, {uniform(x, -2, 2)}, y, to, kernel)));
        c.dtypes = std::move(dtypes);
        cases.push_back(std::move(c));
      };
      add("", floating_dtypes(), {});
      add("_f32", {DType::bf16}, DType::f32);
      add("_f64", {DType::bf16, DType::f32}, DType::f64);
    }
    // NaN, first, last and between, alone and among infinities.
    for (const std::int64_t place : {0, 9, 40, 99})
      for (const auto& [what, number] :
           {std::pair("nan", kNan), std::pair("inf", kInf), std::pair("minus_inf", -kInf)}) {
        std::vector<double> numbers;
        for (int i = 0; i < 100; ++i) numbers.push_back((i * 37 % 100 - 50) / 16.0);
        numbers[static_cast<std::size_t>(place)] = number;
        for (const Shape& y : {Shape{1, 1}, Shape{10, 1}, Shape{1, 10}})
          cases.push_back(nonfinite(
              within(4, kernel_case(text("reduce/", name, "_", what, "_at_", place, "_to_", shape_name(y)),
                                    {values({10, 10}, numbers)}, y, {}, kernel))));
      }
    cases.push_back(
        nonfinite(kernel_case(text("reduce/", name, "_all_minus_inf"),
                              {values({3, 2}, std::vector<double>(6, -kInf))}, {1, 2}, {}, kernel)));
  }
  // A plain running sum in float32 would be off by far more than this.
  Case accuracy = within(0.05, kernel_case("reduce/sum_of_2^20_times_tenth",
                                           {values({1 << 20, 1}, std::vector<double>(1 << 20, 0.1))}, {1, 1},
                                           {}, [](Backend& b, const std::vector<In>& x, Out y) {
                                             b.reduce(ReduceOp::sum, x[0], y);
                                           }));
  accuracy.dtypes = {DType::f32};
  cases.push_back(accuracy);
}

void add_random(std::vector<Case>& cases) {
  // Two seeds whose halves and draws use all four words of the state.
  const std::pair<const char*, std::vector<double>> states[] = {
      {"one", {1, 0, 0, 0}}, {"all_words", {-559038737, 77, -2, 5}}, {"large_draw", {12345, -7, 3, 1 << 30}}};
  for (const auto& [distribution, name] : enumerators<Distribution>())
    for (const auto& [which, words] : states)
      for (const std::int64_t count : {0, 1, 2, 3, 5, 6, 100003}) {
        Case c = kernel_case(
            text("random/", name, "_", which, "_", count),
            {of_dtype(DType::i32, values({4}, words)), dtype_of_case()}, {count}, {},
            [d = distribution](Backend& b, const std::vector<In>& x, Out y) { b.random(y, d, x[0]); });
        switch (distribution) {
          case Distribution::bits: c = exact_in({DType::i32}, std::move(c)); break;
          case Distribution::uniform: c = exact_in(floating_dtypes(), std::move(c)); break;
          case Distribution::normal: c = within(0.3, std::move(c)); break;
        }
        if (distribution == Distribution::normal) c.tolerance_bf16 = 1 / 250.0;
        cases.push_back(std::move(c));
      }
}

}  // namespace

std::vector<Case> moving_kernel_cases() {
  std::vector<Case> cases;
  add_copies(cases);
  add_indexing(cases);
  add_reductions(cases);
  add_random(cases);
  return cases;
}

}  // namespace om::cases
