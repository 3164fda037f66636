// Every kernel of the cpu backend but the contractions, held directly against the reference in double: what
// ops do not reach easily (NaN, saturation, negative strides, ceil mode, cropping, empty and odd shapes).
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "tensor/philox.h"
#include "tests/tensor/kernel_check.h"

/// AddressSanitizer then refuses an impossible allocation as malloc does, instead of reporting it.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }

namespace om {
namespace {

using namespace kernel_check;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

const std::vector<double> kSpecial = {0,    -0.0,  1,    -1, 0.5, -0.5, 2.5,    -2.5, kNan,
                                      kInf, -kInf, 1e-3, 60, -60, 255,  256.75, 1e10, -1e10};

TEST(Kernels, Fill) {
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::i32, DType::u8})
    for (const double value : {0.0, 3.0, 300.7, -1.5, 1e12, kNan})
      for (const Shape& shape : {Shape{}, Shape{0}, Shape{3, 5}, Shape{40001}})
        check_one(text("fill ", value), dtype, {}, {output(shape)},
                  [value](Backend& b, auto&, auto& y) { b.fill(y[0], value); });
}

TEST(Kernels, CastsTruncateAndSaturate) {
  const auto count = static_cast<std::int64_t>(kSpecial.size());
  for (const DType from : {DType::f32, DType::f64, DType::bf16})
    for (const DType to : {DType::f32, DType::f64, DType::bf16, DType::i32, DType::u8})
      check_one("cast to " + std::string(name_of(to)), from, {{{count}, kSpecial}}, {output({count}, to)},
                [](Backend& b, auto& x, auto& y) { b.cast(x[0], y[0]); });
  const std::vector<double> whole = {0, 1, 255, 256, -1, 2147483647, -2147483648.0, 16777217};
  for (const DType to : {DType::f32, DType::f64, DType::bf16, DType::i32, DType::u8}) {
    check_one("cast i32", DType::i32, {{{8}, whole}}, {output({8}, to)},
              [](Backend& b, auto& x, auto& y) { b.cast(x[0], y[0]); });
    check_one("cast u8", DType::u8, {{{3}, {0, 17, 255}}}, {output({3}, to)},
              [](Backend& b, auto& x, auto& y) { b.cast(x[0], y[0]); });
  }
}

TEST(Kernels, Unary) {
  struct Case {
    UnaryOp op;
    double a, b, low;
  };
  for (const Case& c : std::vector<Case>{{UnaryOp::affine, 1.5, -0.25, -2},
                                         {UnaryOp::absolute, 0, 0, -2},
                                         {UnaryOp::sign, 0, 0, -2},
                                         {UnaryOp::exponential, 0, 0, -2},
                                         {UnaryOp::logarithm, 0, 0, 0.1},
                                         {UnaryOp::square_root, 0, 0, 0},
                                         {UnaryOp::rsqrt, 0, 0, 0.1},
                                         {UnaryOp::reciprocal, 0, 0, 0.1},
                                         {UnaryOp::power, 2, 0, -2},
                                         {UnaryOp::power, 3, 0, -2},
                                         {UnaryOp::power, 1, 0, -2},
                                         {UnaryOp::power, -1, 0, 0.1},
                                         {UnaryOp::power, 0.25, 0, 0.1},
                                         {UnaryOp::power, 0, 0, -2},
                                         {UnaryOp::hyperbolic_tangent, 0, 0, -2},
                                         {UnaryOp::sigmoid, 0, 0, -2},
                                         {UnaryOp::leaky_relu, 0.2, 0, -2},
                                         {UnaryOp::leaky_relu, 0, 0, -2},
                                         {UnaryOp::clamp, -0.5, 1, -2},
                                         {UnaryOp::clamp, 1, -1, -2},
                                         {UnaryOp::floor, 0, 0, -2}}) {
    const std::string name = text("unary ", static_cast<int>(c.op), " a ", c.a);
    const Kernel kernel = [c](Backend& b, auto& x, auto& y) { b.unary(c.op, x[0], y[0], c.a, c.b); };
    const Kernel in_place = [c](Backend& b, auto&, auto& y) { b.unary(c.op, y[0], y[0], c.a, c.b); };
    for (const Shape& shape : {Shape{}, Shape{0, 3}, Shape{7}, Shape{3, 13, 1111}})
      check(name, {random_array(shape, 1, c.low)}, {output(shape)}, kernel);
    check(name + " in place", {}, {{{2}, {0.25, 1.5}}}, in_place);
    // 1e10 and beyond leave the range in which float and double agree on e^x and powers.
    std::vector<double> special = kSpecial;
    special.resize(14);
    check(name + " special", {{{14}, special}}, {output({14})}, kernel);
  }
}

TEST(Kernels, BinaryBroadcasts) {
  const Shape x{2, 5, 7, 67}, rgb{2, 19, 33, 3};
  const std::vector<std::pair<Shape, Shape>> shapes = {
      {x, x},
      {x, {1, 1, 1, 67}},
      {{1, 1, 1, 67}, x},
      {x, {2, 1, 1, 67}},
      {x, {2, 5, 7, 1}},
      {x, {1, 1, 1, 1}},
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
  for (const auto& [a, b] : shapes) {
    Shape y = a;
    for (int d = 0; d < y.rank(); ++d) y[d] = a[d] == 1 ? b[d] : a[d];
    for (int op = 0; op <= static_cast<int>(BinaryOp::equal); ++op) {
      const auto binary = static_cast<BinaryOp>(op);
      const Kernel kernel = [binary](Backend& dev, auto& in, auto& out) {
        dev.binary(binary, in[0], in[1], out[0], 0.2);
      };
      const auto result = is_comparison(binary) ? output(y, DType::u8) : output(y);
      check(text("binary ", op, " ", a, b), {random_array(a, 1), random_array(b, 2, 0.5, 3)}, {result},
            kernel);
      if (binary == BinaryOp::leaky_relu_grad) continue;
      const auto whole = [](Array array, double factor) {
        for (double& value : array.values) value = std::floor(value * factor);
        return array;
      };
      check_one(text("binary ", op, " ", a, b), DType::i32,
                {whole(random_array(a, 1), 1e6), whole(random_array(b, 2, 0, 3), 3)},
                {is_comparison(binary) ? output(y, DType::u8) : output(y)}, kernel);
    }
    check(
        text("in place ", a, b), {random_array(b, 3)}, {random_array(y, 4)},
        [](Backend& dev, auto& in, auto& out) { dev.binary(BinaryOp::multiply, out[0], in[0], out[0], 0); });
  }
}

TEST(Kernels, BinaryTreatsNanAndWrapsIntegers) {
  const auto n = static_cast<std::int64_t>(kSpecial.size());
  for (int op = 0; op <= static_cast<int>(BinaryOp::equal); ++op) {
    const auto binary = static_cast<BinaryOp>(op);
    const Kernel kernel = [binary](Backend& dev, auto& in, auto& out) {
      dev.binary(binary, in[0], in[1], out[0], 0.2);
    };
    const Shape square{n, n};
    check(text("special ", op), {{{n, 1}, kSpecial}, {{1, n}, kSpecial}},
          {is_comparison(binary) ? output(square, DType::u8) : output(square)}, kernel);
    if (binary == BinaryOp::leaky_relu_grad) continue;
    const std::vector<double> whole = {0, 1, -1, 2147483647, -2147483648.0, 65537};
    check_one(text("wrap ", op), DType::i32, {{{6, 1}, whole}, {{1, 6}, whole}},
              {is_comparison(binary) ? output({6, 6}, DType::u8) : output({6, 6})}, kernel);
  }
}

TEST(Kernels, Where) {
  const Kernel kernel = [](Backend& dev, auto& in, auto& out) { dev.where(in[0], in[1], in[2], out[0]); };
  const Shape y{3, 41, 5, 70};
  for (const Shape& c : {y, Shape{3, 41, 5, 1}, Shape{1, 1, 1, 70}, Shape{1, 1, 1, 1}})
    for (const Shape& a : {y, Shape{3, 1, 1, 70}, Shape{1, 1, 1, 1}})
      for (const Shape& b : {y, Shape{1, 41, 5, 1}, Shape{1, 1, 1, 1}})
        for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::i32, DType::u8}) {
          auto condition = random_array(c, 1, 0, 1.99);
          condition.dtype = DType::u8;
          for (double& value : condition.values) value = std::floor(value) * 3;
          check_one(text("where ", c, a, b), dtype,
                    {condition, random_array(a, 2, 0, 99), random_array(b, 3, 0, 99)},
                    {{y, noise(y, 4, 0, 1)}}, kernel);
        }
}

TEST(Kernels, StridedCopy) {
  struct Case {
    const char* name;
    Shape x, y, extent;
    std::int64_t x_offset, y_offset;
    Strides x_strides, y_strides;
  };
  const std::vector<Case> cases = {
      {"permute NHWC to NCHW",
       {2, 37, 45, 19},
       {2, 19, 37, 45},
       {2, 19, 37, 45},
       0,
       0,
       {37 * 45 * 19, 1, 45 * 19, 19},
       {19 * 37 * 45, 37 * 45, 45, 1}},
      {"the same, extent in x's order",
       {2, 37, 45, 19},
       {2, 19, 37, 45},
       {2, 37, 45, 19},
       0,
       0,
       {37 * 45 * 19, 45 * 19, 19, 1},
       {19 * 37 * 45, 45, 1, 37 * 45}},
      {"permute NCHW to NHWC, 3 channels",
       {2, 3, 64, 99},
       {2, 64, 99, 3},
       {2, 64, 99, 3},
       0,
       0,
       {3 * 64 * 99, 99, 1, 64 * 99},
       {64 * 99 * 3, 99 * 3, 3, 1}},
      {"transpose", {130, 257}, {257, 130}, {257, 130}, 0, 0, {1, 257}, {130, 1}},
      {"flip both axes",
       {30, 71, 5},
       {30, 71, 5},
       {30, 71, 5},
       29 * 355 + 70 * 5,
       0,
       {-355, -5, 1},
       {355, 5, 1}},
      {"reverse a line", {50000}, {50000}, {50000}, 49999, 0, {-1}, {1}},
      {"reversed transpose", {40, 50}, {50, 40}, {50, 40}, 49, 0, {-1, 50}, {40, 1}},
      {"broadcast last", {300, 1}, {300, 70}, {300, 70}, 0, 0, {1, 0}, {70, 1}},
      {"broadcast first", {1, 70}, {300, 70}, {300, 70}, 0, 0, {0, 1}, {70, 1}},
      {"broadcast middle", {20, 1, 3}, {20, 333, 3}, {20, 333, 3}, 0, 0, {3, 0, 1}, {999, 3, 1}},
      {"slice and pad",
       {2, 20, 30, 8},
       {2, 24, 40, 8},
       {2, 11, 17, 8},
       5 * 240 + 3 * 8,
       7 * 320 + 9 * 8,
       {4800, 240, 8, 1},
       {7680, 320, 8, 1}},
      {"every second", {100, 101}, {50, 51}, {50, 51}, 0, 0, {202, 2}, {51, 1}},
      {"into every third", {51, 7}, {153, 7}, {51, 7}, 0, 7, {7, 1}, {21, 1}},
      {"scalar", {}, {4}, {}, 0, 2, {}, {}},
      {"nothing", {3, 0}, {3, 4}, {3, 0}, 0, 0, {0, 1}, {4, 1}},
  };
  for (const Case& c : cases)
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::i32, DType::u8})
      check_one(c.name, dtype, {random_array(c.x, 1, 0, 200)}, {output(c.y)},
                [&c](Backend& dev, auto& x, auto& y) {
                  dev.strided_copy(x[0], c.x_offset, c.x_strides, y[0], c.y_offset, c.y_strides, c.extent);
                });
}

TEST(Kernels, Reduce) {
  const std::vector<std::pair<Shape, Shape>> shapes = {{{3, 17, 19, 65}, {1, 1, 1, 65}},
                                                       {{3, 17, 19, 65}, {3, 1, 1, 65}},
                                                       {{3, 17, 19, 65}, {3, 17, 19, 1}},
                                                       {{3, 17, 19, 65}, {1, 1, 1, 1}},
                                                       {{3, 17, 19, 65}, {1, 17, 19, 1}},
                                                       {{3, 17, 19, 65}, {3, 1, 19, 1}},
                                                       {{3, 17, 19, 65}, {1, 17, 1, 65}},
                                                       {{3, 17, 19, 65}, {3, 17, 19, 65}},
                                                       {{2, 90, 91, 3}, {1, 1, 1, 3}},
                                                       {{2, 90, 91, 3}, {2, 90, 91, 1}},
                                                       {{100001}, {1}},
                                                       {{30, 2500}, {1, 2500}},
                                                       {{3, 2500}, {3, 1}},
                                                       {{0, 4}, {1, 4}},
                                                       {{3, 0}, {3, 1}},
                                                       {{0, 4}, {0, 1}},
                                                       {{}, {}},
                                                       {{200000, 1}, {1, 1}},
                                                       {{2, 3, 2, 3, 2, 3, 2, 3}, {1, 3, 1, 3, 1, 3, 1, 3}}};
  for (const auto& [x, y] : shapes)
    for (const ReduceOp op : {ReduceOp::sum, ReduceOp::max}) {
      const Kernel kernel = [op](Backend& dev, auto& in, auto& out) { dev.reduce(op, in[0], out[0]); };
      const double scale = op == ReduceOp::sum ? 3 : 1;
      check(text("reduce ", x, y), {random_array(x, 1)}, {output(y)}, kernel, scale);
      check_one(text("bf16 to f32 ", x, y), DType::bf16, {random_array(x, 1)}, {output(y, DType::f32)},
                kernel, 3);
      check_one(text("f32 to f64 ", x, y), DType::f32, {random_array(x, 1)}, {output(y, DType::f64)}, kernel,
                3);
    }
  for (std::size_t place : {0, 9, 40, 99})
    for (const ReduceOp op : {ReduceOp::sum, ReduceOp::max})
      for (const double value : {kNan, kInf, -kInf}) {
        Array x = random_array({100}, 2);
        x.values[place] = value;
        check(
            "reduce special", {x}, {output({1})},
            [op](Backend& dev, auto& in, auto& out) { dev.reduce(op, in[0], out[0]); }, 4);
      }
  const Array tenths{{1 << 20, 1}, std::vector<double>(1 << 20, 0.1)};
  check_one(
      "accuracy", DType::f32, {tenths}, {output({1, 1})},
      [](Backend& dev, auto& in, auto& out) { dev.reduce(ReduceOp::sum, in[0], out[0]); }, 0.05);
}

TEST(Kernels, RandomIsPhilox) {
  EXPECT_EQ(philox::block({0, 0}, 0), (philox::Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const std::uint64_t ones = ~std::uint64_t{0};
  EXPECT_EQ(philox::block({ones, ones}, ones),
            (philox::Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox::block({0x299f31d0a4093822, 0x0370734413198a2e}, 0x85a308d3243f6a88),
            (philox::Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
  const Array state{{4}, {12345, -7, 3, 1 << 30}, DType::i32};
  for (const std::int64_t n : {0, 1, 2, 3, 5, 30003}) {
    const auto kernel = [](Distribution d) {
      return [d](Backend& dev, const std::vector<In>& in, const std::vector<Out>& out) {
        dev.random(out[0], d, in[0]);
      };
    };
    check_one("bits", DType::i32, {state}, {output({n})}, kernel(Distribution::bits));
    check_one("uniform", DType::f32, {state}, {output({n})}, kernel(Distribution::uniform), 0);
    check("uniform", {state}, {output({n})}, kernel(Distribution::uniform));
    check_one("normal", DType::f32, {state}, {output({n})}, kernel(Distribution::normal), 0.3);
    check("normal", {state}, {output({n})}, kernel(Distribution::normal));
  }
}

TEST(Kernels, MaxPool) {
  struct Case {
    Shape x;
    std::int64_t height, width;
    Pool2dParams params;
  };
  for (const Case& c :
       std::vector<Case>{{{2, 8, 6, 33}, 4, 3, {2, 2, 2, 2, 0, 0}},
                         {{2, 8, 6, 5}, 4, 3, {3, 3, 2, 2, 0, 0}},  // ceil mode: clipped windows
                         {{1, 7, 7, 40}, 4, 4, {3, 3, 2, 2, 1, 1}},
                         {{3, 5, 9, 1}, 4, 9, {2, 3, 1, 1, 0, 1}},
                         {{0, 4, 4, 3}, 2, 2, {2, 2, 2, 2, 0, 0}},
                         {{1, 40, 40, 100}, 20, 20, {2, 2, 2, 2, 0, 0}}})
    for (const bool special : {false, true}) {
      Array x = random_array(c.x, 1);
      for (std::size_t i = 0; special && i < x.values.size(); ++i) {
        x.values[i] = std::floor(x.values[i]);  // ties
        if (i % 7 == 3) x.values[i] = kNan;
        if (i % 5 == 1) x.values[i] = -kInf;
      }
      const Shape y{c.x[0], c.height, c.width, c.x[3]};
      check(text("max_pool2d ", c.x), {x}, {output(y), output(y, DType::i32)},
            [&c](Backend& dev, auto& in, auto& out) { dev.max_pool2d(in[0], out[0], out[1], c.params); });
    }
}

TEST(Kernels, UpFirDn) {
  const std::vector<double> line = {1, 3, 3, 1};
  std::vector<double> blur;
  for (double a : line)
    for (double b : line) blur.push_back(a * b / 64);
  const Array smooth{{4, 4}, blur, DType::f32};
  const auto odd = [](std::int64_t h, std::int64_t w) {
    Array filter = random_array({h, w}, 9);
    filter.values = rounded<double>(filter.values);
    for (double& value : filter.values) value = static_cast<float>(value);
    filter.dtype = DType::f32;
    return filter;
  };
  struct Case {
    Shape x;
    Array filter;
    UpFirDnParams params;
  };
  // up, down (h, w), pads top, bottom, left, right, flip
  const std::vector<Case> cases = {{{2, 17, 16, 33}, smooth, {1, 1, 1, 1, 1, 1, 1, 1, false}},
                                   {{1, 33, 300, 70}, smooth, {1, 1, 1, 1, 1, 1, 1, 1, true}},
                                   {{2, 16, 15, 3}, smooth, {2, 2, 1, 1, 2, 1, 2, 1, false}},
                                   {{2, 15, 16, 40}, smooth, {1, 1, 2, 2, 1, 1, 1, 1, false}},
                                   {{1, 9, 8, 5}, odd(4, 4), {1, 1, 1, 1, 1, 2, 2, 1, false}},
                                   {{1, 9, 8, 5}, odd(3, 7), {3, 2, 2, 3, 4, 3, 5, 2, true}},
                                   {{2, 9, 8, 4}, odd(5, 1), {2, 1, 1, 2, -3, 4, -2, -1, false}},
                                   {{1, 12, 12, 3}, odd(2, 2), {1, 1, 1, 1, -4, -3, -2, -5, false}},
                                   {{1, 3, 3, 2}, odd(1, 1), {4, 3, 1, 2, 0, 0, 0, 0, false}},
                                   {{1, 2, 2, 2}, odd(6, 5), {1, 1, 1, 1, 9, 9, 9, 9, false}},
                                   {{0, 4, 4, 2}, smooth, {1, 1, 1, 1, 2, 2, 2, 2, false}}};
  for (const Case& c : cases) {
    const auto size = [](std::int64_t n, std::int64_t up, std::int64_t pads, std::int64_t taps,
                         std::int64_t down) { return (n * up + pads - taps) / down + 1; };
    const UpFirDnParams& p = c.params;
    const Shape y{c.x[0], size(c.x[1], p.up_h, p.pad_top + p.pad_bottom, c.filter.shape[0], p.down_h),
                  size(c.x[2], p.up_w, p.pad_left + p.pad_right, c.filter.shape[1], p.down_w), c.x[3]};
    const Kernel kernel = [&p](Backend& dev, auto& in, auto& out) { dev.upfirdn2d(in[0], in[1], out[0], p); };
    check(text("upfirdn2d ", c.x, c.filter.shape), {random_array(c.x, 1), c.filter}, {output(y)}, kernel, 4);
    Array wide = c.filter;
    wide.dtype = DType::f64;
    check_one("f64 filter", DType::f64, {random_array(c.x, 1), wide}, {output(y)}, kernel, 4);
  }
}

TEST(Kernels, GatherAndScatterAdd) {
  for (const auto& [n, s, m] : std::vector<std::array<std::int64_t, 3>>{
           {1, 1, 1}, {2, 50, 7}, {1, 30000, 9000}, {5, 100, 20001}, {3, 4, 0}, {0, 4, 4}}) {
    Array index = random_array({n, m}, 1, 0, static_cast<double>(s) - 0.01);
    for (double& value : index.values) value = std::floor(value);
    index.dtype = DType::i32;
    const Kernel gather = [](Backend& dev, auto& in, auto& out) { dev.gather(in[0], in[1], out[0]); };
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::i32, DType::u8})
      check_one("gather", dtype, {random_array({n, s}, 2, 0, 200), index}, {output({n, m})}, gather);
    check(
        "scatter_add", {random_array({n, m}, 3), index}, {output({n, s})},
        [](Backend& dev, auto& in, auto& out) { dev.scatter_add(in[0], in[1], out[0]); }, 10);
  }
}

TEST(Kernels, NoMemoryIsAnError) {
  EXPECT_THROW(backend("cpu").allocate(std::numeric_limits<std::size_t>::max() - 5), OutOfMemory);
  EXPECT_THROW(backend("cpu").allocate(std::size_t{1} << 60), OutOfMemory);
}

}  // namespace
}  // namespace om
