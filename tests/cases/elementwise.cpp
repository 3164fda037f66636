// Cases of the elementwise ops: every shape that broadcasting can meet, odd and empty sizes, and sizes large
// enough to be split between threads.
#include "autograd/ops.h"
#include "tests/cases/case.h"

namespace om::cases {
namespace {

using UnaryFunction = Tensor (*)(const Tensor&);
using BinaryFunction = Tensor (*)(const Tensor&, const Tensor&);
using Domain = Input (*)(const Shape&);

const Shape kLarge = {3, 41, 41, 23};  // 115,989 elements: several tiles, and a remainder for vectors

/// One op of one argument on the shapes that matter to it.
void add_unary(std::vector<Case>& cases, const std::string& op, const Function& f, Domain domain,
               int order = 2, double tolerance = 2e-6) {
  const auto add = [&](const char* variant, const Shape& shape, std::uint8_t drivers) {
    cases.push_back({.name = op + "/" + variant,
                     .inputs = {domain(shape)},
                     .function = f,
                     .order = order,
                     .tolerance = tolerance,
                     .drivers = drivers});
  };
  constexpr std::uint8_t both = kConformance | kGradcheck;
  add("odd", {2, 3, 7}, both);
  add("scalar", {}, both);
  add("empty", {0, 3}, both);
  add("large", kLarge, kConformance);
}

/// One op of two arguments: equal shapes and every kind of broadcasting.
void add_binary(std::vector<Case>& cases, const std::string& op, BinaryFunction f, Domain first,
                Domain second, int order = 2) {
  const auto add = [&](const char* variant, const Shape& a, const Shape& b,
                       std::uint8_t drivers = kConformance | kGradcheck) {
    cases.push_back({.name = op + "/" + variant,
                     .inputs = {first(a), second(b)},
                     .function = [f](const Inputs& x) { return f(x[0], x[1]); },
                     .order = order,
                     .drivers = drivers});
  };
  add("same", {3, 5, 7}, {3, 5, 7});
  add("channels", {2, 3, 3, 5}, {5});
  add("first_is_channels", {5}, {2, 3, 3, 5});
  add("samples", {3, 2, 2, 5}, {3, 1, 1, 5});
  add("one_channel", {2, 3, 3, 4}, {2, 3, 3, 1});
  add("both", {4, 1, 3}, {2, 1, 5, 1});
  add("scalar", {2, 3}, {});
  add("scalars", {}, {});
  add("size1", {1, 1}, {1});
  add("empty", {0, 3}, {3});
  add("empty_by_one", {2, 1, 3}, {2, 0, 3});
  add("large", kLarge, kLarge, kConformance);
  add("large_channels", kLarge, {23}, kConformance);
  add("large_samples", kLarge, {3, 1, 1, 23}, kConformance);
  add("large_image", kLarge, {3, 41, 41, 1}, kConformance);
  add("large_scalar", {}, kLarge, kConformance);
}

Input positive(const Shape& shape) { return uniform(shape, 0.4, 2.5); }
Input moderate(const Shape& shape) { return uniform(shape, -1.5, 1.5); }
Input away_from_zero(const Shape& shape) { return normal_away_from({0}, shape); }
Input away_from_quarters(const Shape& shape) { return normal_away_from({-0.75, 0.5}, shape); }
Input even(const Shape& shape) { return distinct(shape); }
Input between(const Shape& shape) { return distinct(shape, 0.5); }

Function unary(UnaryFunction f) {
  return [f](const Inputs& x) { return f(x[0]); };
}

void add_unary_ops(std::vector<Case>& cases) {
  add_unary(
      cases, "affine", [](const Inputs& x) { return affine(x[0], -1.7, 0.3); }, normal);
  add_unary(cases, "abs", unary(abs), away_from_zero);
  add_unary(cases, "exp", unary(exp), moderate);
  add_unary(cases, "log", unary(log), positive);
  add_unary(cases, "sqrt", unary(sqrt), positive);
  add_unary(cases, "rsqrt", unary(rsqrt), positive);
  add_unary(cases, "reciprocal", unary(reciprocal), positive);
  add_unary(
      cases, "power", [](const Inputs& x) { return power(x[0], 1.7); }, positive, 2, 5e-6);
  add_unary(cases, "square", unary(square), normal);
  add_unary(cases, "tanh", unary(tanh), normal);
  add_unary(cases, "sigmoid", unary(sigmoid), normal);
  add_unary(
      cases, "leaky_relu", [](const Inputs& x) { return leaky_relu(x[0], 0.2); }, away_from_zero);
  add_unary(cases, "relu", unary(relu), away_from_zero);
  add_unary(
      cases, "clamp", [](const Inputs& x) { return clamp(x[0], -0.75, 0.5); }, away_from_quarters);
  add_unary(cases, "sign", unary(sign), away_from_zero, 0);
  add_unary(cases, "floor", unary(floor), normal, 0);
  cases.push_back({.name = "power/negative_base",
                   .inputs = {away_from_zero({3, 5})},
                   .function = [](const Inputs& x) { return power(x[0], 3); },
                   .tolerance = 5e-6});
  cases.push_back({.name = "power/negative_exponent",
                   .inputs = {positive({3, 5})},
                   .function = [](const Inputs& x) { return power(x[0], -2.5); },
                   .tolerance = 5e-6});
  // Where the mathematics gives a number, so does every order of derivative.
  for (const double exponent : {0.0, 1.0, 2.0, 3.0})
    cases.push_back({.name = text("power/at_zero_to_the_", exponent),
                     .inputs = {values({4}, {0, -0.0, 1.5, -2})},
                     .function = [exponent](const Inputs& x) { return power(x[0], exponent); },
                     .tolerance = 5e-6});
  cases.push_back({.name = "leaky_relu/identity",
                   .inputs = {away_from_zero({3, 5})},
                   .function = [](const Inputs& x) { return leaky_relu(x[0], 1); }});
  cases.push_back({.name = "exp/large_arguments",
                   .inputs = {values({6}, {-100, -80, -20, 20, 60, 88})},
                   .function = unary(exp),
                   .order = 0,
                   .tolerance = 1e-5,
                   .tolerance_bf16 = 0});
}

void add_binary_ops(std::vector<Case>& cases) {
  add_binary(cases, "add", add, normal, normal);
  add_binary(cases, "subtract", subtract, normal, normal);
  add_binary(cases, "multiply", multiply, normal, normal);
  add_binary(cases, "divide", divide, normal, positive);
  add_binary(cases, "maximum", maximum, even, between);
  add_binary(cases, "minimum", minimum, even, between);
  add_binary(cases, "greater", greater, grid, grid, 0);
  add_binary(cases, "greater_equal", greater_equal, grid, grid, 0);
  add_binary(cases, "equal", equal, grid, grid, 0);
  cases.push_back({.name = "multiply/by_itself", .inputs = {normal({3, 4})}, .function = [](const Inputs& x) {
                     return multiply(x[0], x[0]);
                   }});
  cases.push_back({.name = "add/to_itself", .inputs = {normal({3, 4})}, .function = [](const Inputs& x) {
                     return add(x[0], x[0]);
                   }});
  cases.push_back({.name = "divide/by_negative",
                   .inputs = {normal({2, 5}), uniform({2, 5}, -3, -0.5)},
                   .function = [](const Inputs& x) { return divide(x[0], x[1]); }});
}

void add_selections(std::vector<Case>& cases) {
  const auto select = [&](const char* variant, const Shape& condition, const Shape& a, const Shape& b,
                          std::uint8_t drivers = kConformance | kGradcheck) {
    cases.push_back({.name = std::string("where/") + variant,
                     .inputs = {mask(condition), normal(a), normal(b)},
                     .function = [](const Inputs& x) { return where(x[0], x[1], x[2]); },
                     .drivers = drivers});
  };
  select("same", {3, 5, 7}, {3, 5, 7}, {3, 5, 7});
  select("scalar", {3, 5}, {3, 5}, {});
  select("condition_broadcast", {3, 1}, {3, 5}, {1, 5});
  select("all_broadcast", {2, 1, 1}, {3, 1}, {4});
  select("empty", {0, 1}, {1, 3}, {0, 3});
  select("large", kLarge, kLarge, {23}, kConformance);

  const auto leaky = [&](const char* variant, const Shape& g, const Shape& y, double slope) {
    cases.push_back({.name = std::string("leaky_relu_grad/") + variant,
                     .inputs = {normal(g), fixed(away_from_zero(y))},
                     .function = [slope](const Inputs& x) { return leaky_relu_grad(x[0], x[1], slope); }});
  };
  leaky("same", {3, 5, 7}, {3, 5, 7}, 0.2);
  leaky("relu", {4, 6}, {4, 6}, 0);
  leaky("broadcast", {5}, {3, 5}, 0.2);
  leaky("empty", {0}, {0}, 0.2);
}

/// Numbers at and beyond the edges of the dtype: only what the contracts promise.
void add_specials(std::vector<Case>& cases) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  const Input special = values({9}, {nan, inf, -inf, 0.0, -0.0, 1.0, -1.0, 0.5, -2.0});
  const Input others = values({9}, {1.0, nan, 1.0, -0.0, nan, nan, -inf, inf, nan});
  const auto add = [&](const std::string& op, const Function& f, std::vector<Input> inputs) {
    cases.push_back({.name = op + "/special",
                     .inputs = std::move(inputs),
                     .function = f,
                     .order = 0,
                     .drivers = kConformance,
                     .nonfinite = true});
  };
  add("leaky_relu", [](const Inputs& x) { return leaky_relu(x[0], 0.2); }, {special});
  add("relu", unary(relu), {special});
  add("clamp", [](const Inputs& x) { return clamp(x[0], -0.75, 0.5); }, {special});
  add("abs", unary(abs), {special});
  add("sqrt", unary(sqrt), {special});
  add("log", unary(log), {special});
  add("exp", unary(exp), {special});
  add("sigmoid", unary(sigmoid), {special});
  add("tanh", unary(tanh), {special});
  add("reciprocal", unary(reciprocal), {special});
  add("greater", [](const Inputs& x) { return greater(x[0], x[1]); }, {special, others});
  add("greater_equal", [](const Inputs& x) { return greater_equal(x[0], x[1]); }, {special, others});
  add("equal", [](const Inputs& x) { return equal(x[0], x[1]); }, {special, others});
  add("add", [](const Inputs& x) { return om::add(x[0], x[1]); }, {special, others});
}

void add_casts(std::vector<Case>& cases) {
  const auto add = [&](const char* variant, const Shape& shape, DType dtype) {
    cases.push_back({.name = std::string("cast/") + variant,
                     .inputs = {grid(shape)},
                     .function = [dtype](const Inputs& x) { return cast(x[0], dtype); },
                     .order = is_floating(dtype) ? 2 : 0,
                     .also = {dtype},
                     .step = 1.0 / 16});
  };
  add("to_f32", {3, 7}, DType::f32);
  add("to_bf16", {3, 7}, DType::bf16);
  add("to_f64", {3, 7}, DType::f64);
  add("to_i32", {3, 7}, DType::i32);
  add("to_u8", {2, 5}, DType::u8);
  add("empty", {0, 2}, DType::f32);
  cases.push_back({.name = "cast/large",
                   .inputs = {normal(kLarge)},
                   .function = [](const Inputs& x) { return cast(x[0], DType::bf16); },
                   .order = 1,
                   .drivers = kConformance});
}

}  // namespace

std::vector<Case> elementwise_cases() {
  std::vector<Case> cases;
  add_unary_ops(cases);
  add_binary_ops(cases);
  add_selections(cases);
  add_specials(cases);
  add_casts(cases);
  return cases;
}

}  // namespace om::cases
