// Kernels that treat each element alone: fill, cast, unary, binary, where.
#include <bit>
#include <limits>

#include "tests/cases/kernels.h"

namespace om::cases {
namespace {

const double kNan = std::numeric_limits<double>::quiet_NaN();
const double kInf = std::numeric_limits<double>::infinity();

/// Above a tie of bf16 by less than f32 shows: by way of f32 it becomes 1, rounded at once 1.0078125.
const double kNearATie = 1 + 0x1p-8 + 0x1p-40;

void add_fills(std::vector<Case>& cases) {
  for (const auto& [name, value] : std::vector<std::pair<const char*, double>>{{"0", 0},
                                                                               {"3", 3},
                                                                               {"fraction", 200.7},
                                                                               {"beyond_u8", 300.7},
                                                                               {"negative", -1.5},
                                                                               {"beyond_i32", 1e12},
                                                                               {"near_a_tie", kNearATie},
                                                                               {"nan", kNan}})
    for (const Shape& shape : {Shape{}, Shape{0}, Shape{1023}, Shape{5, 8003}})
      cases.push_back(nonfinite(exact_in(
          all_dtypes(),
          kernel_case(text("fill/", name, "/", shape_name(shape)), {dtype_of_case()}, shape, {},
                      [value = value](Backend& b, const std::vector<In>&, Out y) { b.fill(y, value); }))));
}

/// Numbers at the edges of what each dtype holds, several times over, so that whole vectors of them occur.
Input edges_for(DType from) {
  std::vector<double> numbers;
  if (is_floating(from)) {
    // the last NaN has every bit set, which rounding must not carry on into the sign
    numbers = {0,          -0.0,         0.4,           -0.6,
               0.5,        1.5,          2.5,           -1.5,
               1.999,      254.9,        255,           255.9,
               256,        -1,           -3e9,          3e9,
               1e30,       -1e30,        kInf,          -kInf,
               kNan,       1e-40,        3e38,          3e5,
               -7.9,       2147483647.0, -2147483648.0, 1.0 / 3,
               1.00390625, 1.01171875,   kNearATie,     std::bit_cast<double>(~std::uint64_t{0} >> 1)};
  } else if (from == DType::i32) {
    numbers = {0, 1, -1, 17, 255, 256, -17, 2147483647.0, -2147483648.0, 16777217, 16842753};
  } else {
    for (int i = 0; i < 256; ++i) numbers.push_back(i);
  }
  const std::vector<double> once = numbers;
  for (int more = 0; more < 3; ++more) numbers.insert(numbers.end(), once.begin(), once.end());
  return values({static_cast<std::int64_t>(numbers.size())}, numbers);
}

void add_casts(std::vector<Case>& cases) {
  for (const DType from : all_dtypes())
    for (const DType to : all_dtypes()) {
      const Input edges = edges_for(from);
      const Input many = is_floating(from) ? normal({40003}) : integers({40003}, 0, 256);
      for (const auto& [variant, input] : {std::pair("edges", edges), std::pair("many", many)})
        cases.push_back(nonfinite(exact_in(
            {from},
            kernel_case(text("cast/", name_of(from), "_to_", name_of(to), "/", variant), {input}, input.shape,
                        to, [](Backend& b, const std::vector<In>& x, Out y) { b.cast(x[0], y); }))));
    }
}

struct Parameters {
  double a = 0, b = 0;
  double low = -2;  ///< inputs lie between low and 2
};

std::vector<Parameters> parameters_of(UnaryOp op) {
  switch (op) {
    case UnaryOp::affine: return {{1.5, -0.25}};
    case UnaryOp::logarithm:
    case UnaryOp::rsqrt:
    case UnaryOp::reciprocal: return {{0, 0, 0.1}};
    case UnaryOp::square_root: return {{0, 0, 0}};
    case UnaryOp::power:
      return {{0}, {1}, {2}, {3}, {-1, 0, 0.1}, {0.25, 0, 0.1}, {1.7, 0, 0.1}, {-0.5, 0, 0.1}};
    case UnaryOp::leaky_relu: return {{0.2}, {0}, {1}};
    case UnaryOp::clamp: return {{-0.5, 0.75}, {-0.5, -0.5}, {1, -1}};
    case UnaryOp::absolute:
    case UnaryOp::sign:
    case UnaryOp::exponential:
    case UnaryOp::hyperbolic_tangent:
    case UnaryOp::sigmoid:
    case UnaryOp::floor: return {{}};
  }
  fail("cases: unary op ", static_cast<int>(op), " has no case");
}

void add_unary(std::vector<Case>& cases) {
  for (const auto& [op, name] : enumerators<UnaryOp>()) {
    const std::vector<Parameters> all = parameters_of(op);
    for (std::size_t i = 0; i < all.size(); ++i) {
      const Parameters p = all[i];
      const std::string base = text("unary/", name, all.size() > 1 ? text("_", i) : "", "/");
      const Kernel kernel = [op = op, p](Backend& b, const std::vector<In>& x, Out y) {
        b.unary(op, x[0], y, p.a, p.b);
      };
      for (const Shape& shape : {Shape{}, Shape{0, 3}, Shape{7}, Shape{3, 13, 1111}})
        cases.push_back(kernel_case(base + shape_name(shape), {uniform(shape, p.low, 2)}, shape, {}, kernel));
      cases.push_back(kernel_case_over_first(base + "in_place", {uniform({37, 41}, p.low, 2)}, kernel));
      cases.push_back(nonfinite(kernel_case(base + "special", {special_numbers()}, {14}, {}, kernel)));
    }
  }
}

/// Shapes of a and b.
const std::vector<std::pair<Shape, Shape>>& broadcasts() {
  static const Shape image{2, 5, 7, 67}, rgb{2, 19, 33, 3};
  static const std::vector<std::pair<Shape, Shape>> table = {
      {image, image},
      {image, {1, 1, 1, 67}},
      {{1, 1, 1, 67}, image},
      {image, {2, 1, 1, 67}},
      {image, {2, 5, 7, 1}},
      {image, {1, 1, 1, 1}},
      {{2, 1, 1, 67}, {1, 5, 7, 1}},
      {rgb, {1, 1, 1, 3}},
      {{2, 19, 33, 1}, {2, 1, 1, 3}},
      {rgb, {1, 19, 1, 3}},
      {rgb, {1, 1, 33, 1}},
      {{3, 1}, {1, 40000}},
      {{50000}, {1}},
      {{0, 3}, {1, 3}},
      {{}, {}},
      {{1, 3, 1, 2, 1, 2, 1, 3}, {2, 1, 3, 1, 2, 1, 2, 1}},
  };
  return table;
}

Shape broadcast_of(const Shape& a, const Shape& b) {
  Shape y = a;
  for (int d = 0; d < y.rank(); ++d) y[d] = a[d] == 1 ? b[d] : a[d];
  return y;
}

bool has_integer_form(BinaryOp op) { return op != BinaryOp::leaky_relu_grad; }

void add_binary(std::vector<Case>& cases) {
  for (const auto& [op, name] : enumerators<BinaryOp>()) {
    const Kernel kernel = [op = op](Backend& b, const std::vector<In>& x, Out y) {
      b.binary(op, x[0], x[1], y, 0.2);
    };
    const bool compares = is_comparison(op);
    const std::optional<DType> y_dtype = compares ? std::optional(DType::u8) : std::nullopt;
    for (const auto& [a, b] : broadcasts()) {
      const Shape y = broadcast_of(a, b);
      const std::string base = text("binary/", name, "/"), shapes = shape_name(a) + "_" + shape_name(b);
      if (compares) {  // small integers, so that equal ones occur
        cases.push_back(
            exact_in(all_dtypes(),
                     kernel_case(base + shapes, {integers(a, 0, 6), integers(b, 0, 6)}, y, y_dtype, kernel)));
        continue;
      }
      cases.push_back(kernel_case(base + shapes, {uniform(a, -2, 2), uniform(b, 0.5, 3)}, y, {}, kernel));
      if (has_integer_form(op))
        cases.push_back(exact_in(
            {DType::i32}, kernel_case(base + "i32_" + shapes,
                                      {integers(a, -2000000, 2000000), integers(b, 0, 9)}, y, {}, kernel)));
    }
    const std::string base = text("binary/", name, "/");
    const auto across = [](std::vector<double> numbers, bool row) {
      const auto n = static_cast<std::int64_t>(numbers.size());
      return values(row ? Shape{1, n} : Shape{n, 1}, std::move(numbers));
    };
    const std::vector<double> special = {0,    -0.0,  1,    -1, 0.5, -0.5, 2.5,    -2.5, kNan,
                                         kInf, -kInf, 1e-3, 60, -60, 255,  256.75, 1e10, -1e10};
    cases.push_back(nonfinite(kernel_case(base + "special", {across(special, false), across(special, true)},
                                          {18, 18}, y_dtype, kernel)));
    if (has_integer_form(op)) {
      // the rules of i32: wrapping, division toward zero, by zero and of the smallest number by -1
      const std::vector<double> edges = {0, 1, -1, 2147483647, -2147483648.0, 65537, 7, -7, 2, -2, 3};
      cases.push_back(
          exact_in({DType::i32}, kernel_case(base + "i32_edges", {across(edges, false), across(edges, true)},
                                             {11, 11}, y_dtype, kernel)));
    }
    if (compares) continue;
    const Shape whole{9, 41, 37}, row{1, 1, 37};
    cases.push_back(
        kernel_case_over_first(base + "over_a", {uniform(whole, -2, 2), uniform(row, 0.5, 3)}, kernel));
    cases.push_back(kernel_case_over_first(
        base + "over_b", {uniform(whole, 0.5, 3), uniform(row, -2, 2)},
        [op = op](Backend& b, const std::vector<In>& x, Out y) { b.binary(op, x[1], x[0], y, 0.2); }));
  }
}

void add_where(std::vector<Case>& cases) {
  const Kernel kernel = [](Backend& b, const std::vector<In>& x, Out y) { b.where(x[2], x[0], x[1], y); };
  const auto condition = [](const Shape& shape) { return of_dtype(DType::u8, integers(shape, 0, 3)); };
  const auto add = [&](const Shape& c, const Shape& a, const Shape& b) {
    const Shape y = broadcast_of(broadcast_of(a, b), c);
    cases.push_back(exact_in(
        all_dtypes(), kernel_case(text("where/", shape_name(c), "_", shape_name(a), "_", shape_name(b)),
                                  {integers(a, 0, 99), integers(b, 100, 250), condition(c)}, y, {}, kernel)));
  };
  const Shape y{3, 41, 5, 70}, one{1, 1, 1, 1};
  for (const Shape& c : {y, Shape{3, 41, 5, 1}, Shape{1, 1, 1, 70}, one})
    for (const Shape& a : {y, Shape{3, 1, 1, 70}, one})
      for (const Shape& b : {y, Shape{1, 41, 5, 1}, one}) add(c, a, b);
  add({2, 19, 33, 1}, {2, 19, 33, 3}, {1, 1, 1, 3});
  add({0, 1}, {1, 3}, {0, 3});
  add({}, {}, {});
  cases.push_back(nonfinite(
      exact_in(floating_dtypes(),
               kernel_case("where/special",
                           {special_numbers(), values({14}, std::vector<double>(14, kNan)), condition({14})},
                           {14}, {}, kernel))));
  const Shape whole{9, 41, 37}, row{1, 1, 37};
  cases.push_back(exact_in(
      all_dtypes(),
      kernel_case_over_first("where/over_a",
                             {integers(whole, 0, 99), integers(row, 100, 250), condition(whole)}, kernel)));
  cases.push_back(exact_in(
      all_dtypes(), kernel_case_over_first(
                        "where/over_b", {integers(whole, 0, 99), integers(row, 100, 250), condition(whole)},
                        [](Backend& b, const std::vector<In>& x, Out y) { b.where(x[2], x[1], x[0], y); })));
}

}  // namespace

std::vector<Case> elementwise_kernel_cases() {
  std::vector<Case> cases;
  add_fills(cases);
  add_casts(cases);
  add_unary(cases);
  add_binary(cases);
  add_where(cases);
  return cases;
}

}  // namespace om::cases
