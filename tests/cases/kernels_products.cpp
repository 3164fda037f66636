// matmul, conv2d and its two gradients: shapes that reach every path and edge of blocked products, few and
// many channels, and the sizes of fast algorithms (Winograd's, in stride 1 and 2). The benchmark's rows of
// these kernels stand at the end.
#include <algorithm>
#include <array>

#include "tests/cases/kernels.h"

namespace om::cases {
namespace {

/// Bounds relative to the largest result, on numbers that every dtype holds.
Case product(Case c) {
  c.scale = harness::Rule::Scale::largest;
  c.tolerance = 1e-5;
  c.tolerance_f64 = 1e-12;
  c.tolerance_bf16 = 4e-3;
  return c;
}

void add_matmuls(std::vector<Case>& cases) {
  struct Sizes {
    std::int64_t batch_a, batch_b, m, n, k;
  };
  const std::vector<Sizes> table = {
      {1, 1, 1, 1, 1},     {1, 1, 0, 5, 3},    {1, 1, 4, 0, 3},      {0, 0, 3, 4, 5},     {1, 1, 7, 5, 0},
      {1, 1, 1, 512, 512}, {1, 1, 512, 1, 65}, {1, 1, 4, 67, 129},   {1, 1, 5, 17, 33},   {3, 3, 6, 16, 8},
      {1, 3, 7, 31, 100},  {3, 1, 2, 130, 40}, {2, 2, 97, 3, 385},   {1, 1, 97, 33, 769}, {1, 1, 600, 70, 50},
      {1, 1, 1030, 17, 5}, {4, 4, 64, 64, 64}, {1, 1, 513, 65, 400}, {2, 1, 260, 48, 90}, {1, 1, 3, 1000, 7}};
  for (const Sizes& c : table)
    for (const bool ta : {false, true})
      for (const bool tb : {false, true}) {
        const Shape a = ta ? Shape{c.batch_a, c.k, c.m} : Shape{c.batch_a, c.m, c.k};
        const Shape b = tb ? Shape{c.batch_b, c.n, c.k} : Shape{c.batch_b, c.k, c.n};
        const std::string name =
            text("matmul/", shape_name(a), ta ? "t_" : "_", shape_name(b), tb ? "t" : "");
        cases.push_back(product(kernel_case(
            name, {exact(normal(a)), exact(normal(b))}, {std::max(c.batch_a, c.batch_b), c.m, c.n}, {},
            [ta, tb](Backend& on, const std::vector<In>& x, Out y) {
              on.matmul(x[0], x[1], y, {.transpose_a = ta, .transpose_b = tb});
            })));
      }
}

struct Conv {
  std::int64_t n, h, w, i, o, kh, kw;
  std::int64_t stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0;

  Conv2dParams params() const { return {stride_h, stride_w, pad_h, pad_w}; }
  Shape x() const { return {n, h, w, i}; }
  Shape weight() const { return {o, kh, kw, i}; }
  Shape y() const { return {n, (h + 2 * pad_h - kh) / stride_h + 1, (w + 2 * pad_w - kw) / stride_w + 1, o}; }
  std::string name() const {
    return text(shape_name(x()), "_", shape_name(weight()), "_stride_", stride_h, "x", stride_w, "_pad_",
                pad_h, "x", pad_w);
  }
  double flops() const {
    return 2.0 * static_cast<double>(y().elements()) * static_cast<double>(kh * kw * i);
  }
};

const std::vector<Conv>& convolutions() {
  static const std::vector<Conv> table = {
      {1, 1, 1, 1, 1, 1, 1},
      {0, 4, 4, 3, 5, 3, 3, 1, 1, 1, 1},
      {1, 4, 4, 0, 5, 3, 3, 1, 1, 1, 1},
      {1, 4, 4, 3, 0, 3, 3, 1, 1, 1, 1},
      {2, 5, 7, 3, 17, 3, 3, 1, 1, 1, 1},
      {1, 9, 8, 1, 1, 3, 3, 1, 1, 1, 1},
      {1, 8, 8, 20, 3, 1, 1},
      {2, 8, 9, 12, 1, 3, 3, 1, 1, 1, 1},
      {1, 6, 6, 5, 4, 3, 3, 2, 2, 1, 1},
      {2, 9, 11, 8, 24, 3, 3, 2, 2},
      {1, 10, 9, 16, 16, 3, 3, 2, 2, 1, 1},
      {1, 7, 7, 6, 9, 1, 1, 2, 2},
      {1, 12, 5, 4, 7, 5, 2, 3, 1, 2, 1},
      {1, 4, 4, 40, 33, 3, 3, 1, 1, 1, 1},
      {1, 5, 4, 10, 11, 4, 4, 1, 1, 3, 3},
      {1, 30, 31, 7, 18, 3, 3, 1, 1, 1, 1},
      {2, 16, 16, 64, 48, 3, 3, 1, 1, 1, 1},
      {1, 33, 31, 48, 80, 3, 3, 1, 1, 1, 1},
      {1, 9, 9, 400, 20, 3, 3, 1, 1, 1, 1},
      {1, 8, 8, 33, 520, 3, 3, 1, 1, 1, 1},
      {3, 17, 9, 32, 32, 3, 3, 1, 1, 0, 2},
      {1, 23, 22, 130, 36, 3, 3, 2, 2, 1, 1},
      {1, 40, 40, 3, 16, 7, 7, 4, 4, 3, 3},
      {1, 2, 3, 9, 9, 3, 3, 5, 4, 2, 2},
      // Few channels: whole and partial panels, several lines of pixels to a sum and several sums to a line.
      {2, 40, 41, 3, 70, 3, 3, 1, 1, 1, 1},
      {1, 61, 70, 4, 33, 5, 3, 2, 3, 2, 0},
      {1, 50, 52, 2, 64, 3, 3},
      {2, 9, 900, 3, 36, 3, 3, 1, 1, 0, 2},
      {3, 30, 29, 1, 40, 1, 1},
      {1, 20, 21, 3, 3, 3, 3, 1, 1, 1, 1},
      // Weight gradients whose sums are cut into parts, with x in place, by several tiles of rows, and
      // packed.
      {2, 40, 40, 100, 3, 1, 1},
      {1, 64, 50, 64, 12, 1, 1},
      {1, 45, 45, 40, 29, 1, 1},
      {2, 90, 89, 36, 70, 1, 1, 2, 2},
      // Pixels that no window meets, in short lines and in long ones.
      {2, 9, 8, 20, 24, 1, 1, 3, 2, 1, 1},
      {2, 9, 33, 70, 24, 1, 1, 3, 2},
      {1, 8, 52, 5, 17, 1, 1, 1, 3},
      {1, 11, 12, 16, 20, 1, 3, 2, 2, 0, 1},
      // Tensor cores: channels that are a multiple of 8 and others, large windows, few outputs.
      {2, 16, 16, 32, 48, 3, 3, 2, 2, 1, 1},
      {2, 17, 15, 32, 16, 3, 3, 2, 2, 1, 1},
      {1, 33, 31, 3, 13, 7, 7, 2, 2, 3, 3},
      {2, 9, 11, 64, 3, 1, 1},
      {1, 4, 4, 512, 512, 3, 3, 1, 1, 1, 1},
      {2, 12, 20, 8, 24, 3, 5, 3, 2, 0, 2},
      {4, 8, 8, 96, 1, 8, 8},
      {2, 5, 5, 16, 8, 3, 3, 1, 1, 4, 4},
      {3, 11, 11, 64, 192, 11, 11, 4, 4, 2, 2},
  };
  return table;
}

/// Sizes that run by Winograd's transforms in float on the cpu: stride 1, the first with many channels, and
/// stride 2, the four parts alone and together.
const std::vector<Conv>& winograd_convolutions() {
  static const std::vector<Conv> table = {
      {1, 16, 16, 512, 32, 3, 3, 1, 1, 1, 1},    {1, 16, 16, 32, 512, 3, 3, 1, 1, 1, 1},
      {2, 17, 14, 48, 80, 3, 3, 1, 1, 1, 1},     {1, 19, 30, 32, 176, 3, 3, 1, 1, 0, 2},
      {5, 12, 13, 64, 32, 3, 3, 1, 1, 2, 0},     {1, 100, 90, 32, 48, 3, 3, 1, 1, 1, 1},
      {1, 96, 128, 160, 32, 3, 3, 1, 1, 1, 1},   {1, 65, 65, 256, 240, 3, 3, 2, 2, 0, 0},
      {2, 46, 43, 240, 288, 3, 3, 2, 2, 1, 1},   {3, 51, 50, 96, 304, 3, 3, 2, 2, 2, 0},
      {1, 105, 104, 160, 160, 3, 3, 2, 2, 1, 2}, {1, 150, 161, 32, 96, 3, 3, 2, 2, 0, 1},
      {2, 101, 110, 96, 32, 3, 3, 2, 2, 2, 0},   {1, 152, 150, 48, 144, 3, 3, 2, 2, 1, 2},
  };
  return table;
}

enum class Pass : std::uint8_t { forward, input_grad, weight_grad };

/// One of the three kernels on one size.
Case conv_case(Pass pass, const std::string& variant, const Conv& c, Input (*draw)(const Shape&)) {
  const Conv2dParams p = c.params();
  const Input x = draw(c.x()), w = draw(c.weight()), g = draw(c.y());
  switch (pass) {
    case Pass::forward:
      return kernel_case("conv2d/" + variant, {x, w}, c.y(), {},
                         [p](Backend& b, const std::vector<In>& in, Out y) { b.conv2d(in[0], in[1], y, p); });
    case Pass::input_grad:
      return kernel_case(
          "conv2d_input_grad/" + variant, {g, w}, c.x(), {},
          [p](Backend& b, const std::vector<In>& in, Out y) { b.conv2d_input_grad(in[0], in[1], y, p); });
    case Pass::weight_grad:
      return kernel_case(
          "conv2d_weight_grad/" + variant, {x, g}, c.weight(), {},
          [p](Backend& b, const std::vector<In>& in, Out y) { b.conv2d_weight_grad(in[0], in[1], y, p); });
  }
  fail("cases: no such pass");
}

Input exact_normal(const Shape& shape) { return exact(normal(shape)); }

void add_convolutions(std::vector<Case>& cases) {
  for (const Pass pass : {Pass::forward, Pass::input_grad, Pass::weight_grad}) {
    for (const Conv& c : convolutions()) cases.push_back(product(conv_case(pass, c.name(), c, exact_normal)));
    for (const Conv& c : winograd_convolutions())
      cases.push_back(product(conv_case(pass, "winograd_" + c.name(), c, exact_normal)));
  }
}

/// What Winograd's transforms may cost in precision, on which the goldens of whole models depend: operands
/// that use all of float's bits, and half the usual bound.
void add_precision(std::vector<Case>& cases) {
  struct Size {
    std::int64_t stride, side, many, few, weights;
  };
  // Stride 2 with few pieces, so that its parts are alone, and with many.
  for (const auto& [stride, side, many, few, weights] :
       {Size{1, 24, 512, 32, 32}, Size{2, 32, 512, 128, 128}, Size{2, 66, 512, 32, 64}}) {
    const auto add = [&](Pass pass, std::int64_t in, std::int64_t out) {
      const std::int64_t pixels = side * stride;
      const Conv c{1, pixels, pixels, in, out, 3, 3, stride, stride, 1, 1};
      Case precise =
          product(conv_case(pass, text("winograd_precision_stride", stride, "_side", side), c, normal));
      precise.dtypes = {DType::f32};
      precise.tolerance = 5e-6;
      cases.push_back(precise);
    };
    add(Pass::forward, many, few);
    add(Pass::input_grad, few, many);
    add(Pass::weight_grad, weights, weights);
  }
}

/// Of the 256-pixel model, and LPIPS's; every path of the table in tensor/cpu/conv2d.cpp is among them.
/// Counted as the direct algorithm's, so a fast one may show more than the peak.
void add_benchmarks(std::vector<Case>& cases) {
  const auto timed = [&](Case c, double flops) {
    c.drivers = kBenchmark;
    c.flops = flops;
    cases.push_back(std::move(c));
  };
  for (const auto& [m, n, k] : std::vector<std::array<std::int64_t, 3>>{
           {1, 512, 512}, {4, 512, 512}, {512, 512, 512}, {1024, 1024, 1024}, {4096, 512, 512}})
    for (const bool transpose_b : {false, true})
      timed(kernel_case(text("matmul/timed_", m, "x", n, "x", k, transpose_b ? "_bt" : ""),
                        {normal({1, m, k}), normal(transpose_b ? Shape{1, n, k} : Shape{1, k, n})}, {1, m, n},
                        {},
                        [transpose_b](Backend& b, const std::vector<In>& x, Out y) {
                          b.matmul(x[0], x[1], y, {.transpose_b = transpose_b});
                        }),
            2.0 * static_cast<double>(m * n * k));
  // The "up" rows are the generator's upsampling convolutions: an input gradient with 2 s + 1 pixels.
  const std::pair<const char*, Conv> rows[] = {
      {"4_512", {1, 4, 4, 512, 512, 3, 3, 1, 1, 1, 1}},
      {"8_512", {1, 8, 8, 512, 512, 3, 3, 1, 1, 1, 1}},
      {"16_512", {1, 16, 16, 512, 512, 3, 3, 1, 1, 1, 1}},
      {"32_512", {1, 32, 32, 512, 512, 3, 3, 1, 1, 1, 1}},
      {"64_512", {1, 64, 64, 512, 512, 3, 3, 1, 1, 1, 1}},
      {"128_256", {1, 128, 128, 256, 256, 3, 3, 1, 1, 1, 1}},
      {"256_128", {1, 256, 256, 128, 128, 3, 3, 1, 1, 1, 1}},
      {"b4_16_512", {4, 16, 16, 512, 512, 3, 3, 1, 1, 1, 1}},
      {"vgg_256_64", {1, 256, 256, 64, 64, 3, 3, 1, 1, 1, 1}},
      {"vgg_256_3_64", {1, 256, 256, 3, 64, 3, 3, 1, 1, 1, 1}},
      {"vgg_32_256", {1, 32, 32, 256, 256, 3, 3, 1, 1, 1, 1}},
      {"down_65_512", {1, 65, 65, 512, 512, 3, 3, 2, 2}},
      {"down_257_128_256", {1, 257, 257, 128, 256, 3, 3, 2, 2}},
      {"up_9_512", {1, 9, 9, 512, 512, 3, 3, 2, 2}},
      {"up_33_512", {1, 33, 33, 512, 512, 3, 3, 2, 2}},
      {"up_65_512", {1, 65, 65, 512, 512, 3, 3, 2, 2}},
      {"up_129_512_256", {1, 129, 129, 256, 512, 3, 3, 2, 2}},
      {"up_257_256_128", {1, 257, 257, 128, 256, 3, 3, 2, 2}},
      {"rgb_256_128_3", {1, 256, 256, 128, 3, 1, 1}},
      {"noise_64_512_1", {1, 64, 64, 512, 1, 3, 3, 1, 1, 1, 1}},
      {"skip_256_128_256", {1, 256, 256, 128, 256, 1, 1}},
      {"skip_256_64_128_s2", {1, 256, 256, 64, 128, 1, 1, 2, 2}},
      {"mix_64_512_256", {1, 64, 64, 512, 256, 1, 1}},
  };
  for (const auto& [name, c] : rows)
    for (const Pass pass : {Pass::forward, Pass::input_grad, Pass::weight_grad})
      timed(conv_case(pass, text("timed_", name), c, normal), c.flops());
}

}  // namespace

std::vector<Case> product_kernel_cases() {
  std::vector<Case> cases;
  add_matmuls(cases);
  add_convolutions(cases);
  add_precision(cases);
  add_benchmarks(cases);
  return cases;
}

}  // namespace om::cases
