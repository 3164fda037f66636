#include "tests/conformance/kernels.h"

#include <limits>

#include "tensor/registry.h"
#include "tests/cases/program.h"
#include "tests/conformance/comparison.h"

namespace om::conformance {
namespace {

constexpr DType kAll[] = {DType::f32, DType::f64, DType::bf16, DType::i32, DType::u8};
constexpr DType kFloating[] = {DType::f32, DType::f64, DType::bf16};

/// Runs `kernel` on both backends and expects equal numbers. The kernel gets a function that brings host
/// numbers to its backend, and returns its result.
using Bring = std::function<Tensor(const std::vector<double>&, const Shape&, DType)>;
using Kernel = std::function<Tensor(Backend&, const Bring&)>;

void expect_equal(const std::string& what, Backend& tested, const Kernel& kernel, double tolerance = 0) {
  const auto run = [&](Backend& on) {
    return cases::numbers_of(kernel(on, [&](const auto& numbers, const Shape& shape, DType dtype) {
      return cases::tensor(numbers, shape, dtype, on);
    }));
  };
  const Guarded guarded;
  expect_close(what, run(tested), run(backend("reference")), tolerance, true);
}

std::vector<double> integers(std::int64_t count, std::int64_t low, std::int64_t high, std::uint64_t seed) {
  std::vector<double> numbers = cases::draw_weights(count, seed);  // multiples of 1/64 within (-2, 2)
  for (double& number : numbers) {
    const auto n = static_cast<std::int64_t>(number * 64) + 128;
    number = static_cast<double>(low + n * 7919 % (high - low));
  }
  return numbers;
}

void fills(Backend& b) {
  for (const DType dtype : kAll)
    if (b.supports(dtype))
      for (const std::int64_t size : {0, 1, 7, 70001})
        for (const double value : {0.0, 1.0, 3.25, 200.0})
          expect_equal(text("fill ", name_of(dtype)), b,
                       [=](Backend& on, const Bring&) { return Tensor::full({size}, value, dtype, on); });
}

void casts(Backend& b) {
  const double inf = std::numeric_limits<double>::infinity();
  std::vector<double> numbers = {0.0,   -0.0,    0.4,   -0.6, 1.5,  2.5,   -1.5,   255.0, 256.0,
                                 254.9, -1.0,    -3e9,  3e9,  1e30, -1e30, inf,    -inf,  127.0,
                                 1e-40, 65504.0, 3.0e5, 1e-3, 3.14, -7.9,  1.0 / 3};
  numbers.push_back(std::numeric_limits<double>::quiet_NaN());
  for (const DType from : kAll)
    for (const DType to : kAll) {
      if (!b.supports(from) || !b.supports(to)) continue;
      std::vector<double> held = numbers;
      if (!is_floating(from)) held = integers(26, 0, from == DType::u8 ? 256 : 2000000000, 5);
      if (from == DType::i32) held[3] = -17, held[4] = 2147483647.0, held[5] = -2147483648.0;
      const std::vector<double> once = held;
      for (int more = 0; more < 3; ++more) held.insert(held.end(), once.begin(), once.end());
      const auto size = static_cast<std::int64_t>(held.size());
      expect_equal(text("cast ", name_of(from), " to ", name_of(to)), b,
                   [=](Backend& on, const Bring& bring) {
                     const Tensor x = bring(held, {size}, from);
                     const Tensor y = Tensor::empty({size}, to, on);
                     on.cast(x.in(), y.out());
                     return y;
                   });
    }
}

void integer_arithmetic(Backend& b) {
  const Shape shape = {37, 41}, row = {1, 41};
  for (const BinaryOp op : {BinaryOp::add, BinaryOp::subtract, BinaryOp::multiply, BinaryOp::divide,
                            BinaryOp::maximum, BinaryOp::minimum})
    for (const Shape& other : {shape, row})
      expect_equal(text("binary ", static_cast<int>(op), " on i32, b ", other), b,
                   [=](Backend& on, const Bring& bring) {
                     const Tensor x = bring(integers(37 * 41, -90, 90, 1), shape, DType::i32);
                     const Tensor y = bring(integers(other.elements(), 1, 50, 2), other, DType::i32);
                     const Tensor z = Tensor::empty(shape, DType::i32, on);
                     on.binary(op, x.in(), y.in(), z.out(), 0);
                     return z;
                   });
}

void comparisons(Backend& b) {
  const Shape shape = {37, 41}, column = {37, 1};
  for (const DType dtype : kAll)
    for (const BinaryOp op : {BinaryOp::greater, BinaryOp::greater_equal, BinaryOp::equal})
      for (const Shape& other : {shape, column})
        if (b.supports(dtype))
          expect_equal(text("binary ", static_cast<int>(op), " on ", name_of(dtype), ", b ", other), b,
                       [=](Backend& on, const Bring& bring) {
                         const Tensor x = bring(integers(37 * 41, 0, 6, 1), shape, dtype);
                         const Tensor y = bring(integers(other.elements(), 0, 6, 2), other, dtype);
                         const Tensor z = Tensor::empty(shape, DType::u8, on);
                         on.binary(op, x.in(), y.in(), z.out(), 0);
                         return z;
                       });
}

void moves(Backend& b) {
  const Shape shape = {3, 5, 7};
  for (const DType dtype : kAll) {
    if (!b.supports(dtype)) continue;
    const std::vector<double> numbers = integers(105, 0, 250, 3), others = integers(105, 0, 250, 4);
    expect_equal(text("where ", name_of(dtype)), b, [=](Backend& on, const Bring& bring) {
      const Tensor c = bring(integers(35, 0, 2, 5), {1, 5, 7}, DType::u8);
      const Tensor y = Tensor::empty(shape, dtype, on);
      on.where(c.in(), bring(numbers, shape, dtype).in(), bring(others, shape, dtype).in(), y.out());
      return y;
    });
    expect_equal(text("gather ", name_of(dtype)), b, [=](Backend& on, const Bring& bring) {
      const Tensor y = Tensor::empty({3, 11}, dtype, on);
      on.gather(bring(numbers, {3, 35}, dtype).in(), bring(integers(33, 0, 35, 6), {3, 11}, DType::i32).in(),
                y.out());
      return y;
    });
    // A transposed, reversed window of x into every second element of y, which keeps its other values.
    expect_equal(text("strided_copy ", name_of(dtype)), b, [=](Backend& on, const Bring& bring) {
      const Tensor x = bring(numbers, shape, dtype), y = bring(others, {105}, dtype);
      on.strided_copy(x.in(), 34, {-7, 35, -1}, y.out(), 3, {20, 2, 6}, {4, 3, 3});
      return y;
    });
    expect_equal(text("strided_copy of nothing, ", name_of(dtype)), b, [=](Backend& on, const Bring& bring) {
      const Tensor x = bring(numbers, shape, dtype), y = bring(others, {105}, dtype);
      on.strided_copy(x.in(), 0, {1, 1, 1}, y.out(), 0, {1, 1, 1}, {4, 0, 3});
      return y;
    });
  }
}

void reductions(Backend& b) {
  for (const DType from : {DType::bf16, DType::f32})
    for (const DType to : {DType::f32, DType::f64})
      for (const ReduceOp op : {ReduceOp::sum, ReduceOp::max})
        if (b.supports(from) && b.supports(to))
          expect_equal(
              text("reduce ", static_cast<int>(op), " ", name_of(from), " to ", name_of(to)), b,
              [=](Backend& on, const Bring& bring) {
                const Tensor x = bring(cases::draw_weights(5 * 33 * 9, 8), {5, 33, 9}, from);
                const Tensor y = Tensor::empty({5, 1, 9}, to, on);
                on.reduce(op, x.in(), y.out());
                return y;
              },
              1e-6);
  // A million times the same number: a plain running sum in float32 would be off by far more than this.
  expect_equal(
      "reduce of 2^20 times 0.1", b,
      [](Backend& on, const Bring& bring) {
        const Tensor x = bring(std::vector<double>(1 << 20, 0.1F), {1 << 20}, DType::f32);
        const Tensor y = Tensor::empty({1}, DType::f32, on);
        on.reduce(ReduceOp::sum, x.in(), y.out());
        return y;
      },
      2e-6);
}

void pool_indices(Backend& b) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  std::vector<double> numbers = integers(2 * 7 * 5 * 3, -4, 4, 9);  // many ties
  numbers[5] = nan, numbers[40] = nan, numbers[41] = inf;
  for (int i = 60; i < 90; ++i) numbers[static_cast<std::size_t>(i)] = -inf;
  for (const DType dtype : kFloating)
    if (b.supports(dtype))
      expect_equal(text("max_pool2d's index, ", name_of(dtype)), b, [=](Backend& on, const Bring& bring) {
        const Tensor x = bring(numbers, {2, 7, 5, 3}, dtype);
        const Tensor y = Tensor::empty({2, 4, 5, 3}, dtype, on);
        const Tensor index = Tensor::empty({2, 4, 5, 3}, DType::i32, on);
        on.max_pool2d(x.in(), y.out(), index.out(),
                      {.kernel_h = 3, .kernel_w = 3, .stride_h = 2, .stride_w = 1, .pad_h = 1, .pad_w = 1});
        return index;
      });
}

void in_place(Backend& b) {
  const Shape shape = {9, 41, 37};
  const std::int64_t count = shape.elements();
  for (const DType dtype : kFloating) {
    if (!b.supports(dtype)) continue;
    const auto x = [=](const Bring& bring) { return bring(cases::draw_weights(count, 1), shape, dtype); };
    const auto row = [=](const Bring& bring) { return bring(cases::draw_weights(37, 2), {1, 1, 37}, dtype); };
    expect_equal("unary over its operand", b, [=](Backend& on, const Bring& bring) {
      const Tensor y = x(bring);
      on.unary(UnaryOp::affine, y.in(), y.out(), 2, 1);
      return y;
    });
    expect_equal("binary over a", b, [=](Backend& on, const Bring& bring) {
      const Tensor y = x(bring);
      on.binary(BinaryOp::maximum, y.in(), row(bring).in(), y.out(), 0);
      return y;
    });
    expect_equal("binary over b", b, [=](Backend& on, const Bring& bring) {
      const Tensor y = x(bring);
      on.binary(BinaryOp::minimum, row(bring).in(), y.in(), y.out(), 0);
      return y;
    });
    expect_equal("where over b", b, [=](Backend& on, const Bring& bring) {
      const Tensor y = x(bring), c = bring(integers(count, 0, 2, 3), shape, DType::u8);
      on.where(c.in(), row(bring).in(), y.in(), y.out());
      return y;
    });
  }
}

void random_numbers(Backend& b) {
  // Two seeds whose halves and draws use all four words of the state.
  const std::vector<double> states[] = {{1, 0, 0, 0}, {-559038737, 77, -2, 5}};
  for (const auto& state : states)
    for (const std::int64_t count : {0, 1, 6, 100003}) {
      const auto draw = [=](Distribution distribution, DType dtype) {
        return [=](Backend& on, const Bring& bring) {
          const Tensor y = Tensor::empty({count}, dtype, on);
          on.random(y.out(), distribution, bring(state, {4}, DType::i32).in());
          return y;
        };
      };
      expect_equal("random bits", b, draw(Distribution::bits, DType::i32));
      for (const DType dtype : kFloating) {
        if (!b.supports(dtype)) continue;
        expect_equal(text("random uniform ", name_of(dtype)), b, draw(Distribution::uniform, dtype));
        expect_equal(text("random normal ", name_of(dtype)), b, draw(Distribution::normal, dtype),
                     dtype == DType::bf16 ? 5e-3 : 1e-6);
      }
    }
}

void copies(Backend& b) {
  const Guarded guarded;
  const std::vector<double> numbers = cases::draw_weights(70001, 1);
  const Tensor x = cases::tensor(numbers, {70001}, DType::f32, b);
  EXPECT_EQ(cases::numbers_of(x), numbers);
  EXPECT_EQ(cases::numbers_of(x.clone()), numbers);
  EXPECT_EQ(cases::numbers_of(x.to(backend("reference"))), numbers);
  void* pinned = b.allocate_pinned(64);
  EXPECT_NE(pinned, nullptr);
  b.release_pinned(pinned);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(Tensor::empty({3}, DType::f32, b).storage()->data()) % 64, 0U);
}

/// matmul and conv2d must repeat their bits, duplicates in scatter_add included.
void repeats(Backend& b) {
  const auto twice = [](const char* what, const std::function<Tensor()>& run) {
    EXPECT_EQ(bytes_of(run()), bytes_of(run())) << what;
  };
  const auto numbers = [&](const Shape& shape, std::uint64_t seed) {
    std::vector<double> values = cases::draw_weights(shape.elements(), seed);
    for (double& value : values) value *= 0.1;
    return cases::tensor(values, shape, DType::f32, b);
  };
  const Tensor x = numbers({2, 19, 17, 33}, 1), w = numbers({35, 3, 3, 33}, 2),
               g = numbers({2, 19, 17, 35}, 3);
  const Conv2dParams same{1, 1, 1, 1};
  const auto into = [&](const Shape& shape, const auto& kernel) {
    return [&, shape] {
      const Tensor y = Tensor::empty(shape, DType::f32, b);
      kernel(y.out());
      return y;
    };
  };
  const auto flat = numbers({1, 40000}, 4);
  const auto index = cases::tensor(integers(40000, 0, 13, 5), {1, 40000}, DType::i32, b);
  const auto conv = [&](Out y) { b.conv2d(x.in(), w.in(), y, same); };
  const auto input_grad = [&](Out y) { b.conv2d_input_grad(g.in(), w.in(), y, same); };
  const auto weight_grad = [&](Out y) { b.conv2d_weight_grad(x.in(), g.in(), y, same); };
  const auto scatter = [&](Out y) { b.scatter_add(flat.in(), index.in(), y); };
  const auto reduce = [&](Out y) { b.reduce(ReduceOp::sum, flat.in(), y); };
  twice("conv2d", into(g.shape(), conv));
  twice("conv2d_input_grad", into(x.shape(), input_grad));
  twice("conv2d_weight_grad", into(w.shape(), weight_grad));
  twice("scatter_add", into({1, 13}, scatter));
  twice("reduce", into({1, 1}, reduce));
}

}  // namespace

void add_kernel_tests(Backend& backend) {
  const auto add = [&](const char* name, void (*body)(Backend&)) {
    cases::add_test("Kernels", name, [&backend, body] { body(backend); });
  };
  add("fill", fills);
  add("cast_all_pairs", casts);
  add("integer_arithmetic", integer_arithmetic);
  add("comparisons", comparisons);
  add("moves_of_every_dtype", moves);
  add("reduce_to_wider", reductions);
  add("max_pool2d_index", pool_indices);
  add("in_place", in_place);
  add("random", random_numbers);
  add("copies", copies);
  add("repeats", repeats);
}

}  // namespace om::conformance
