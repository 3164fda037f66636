// The cuda backend's copies, elementwise kernels and reductions against the reference backend in double, and
// its memory and captured graphs.
#include <gtest/gtest.h>

#include "tests/tensor/cuda_check.h"

namespace om::cuda_check {
namespace {

class CudaSlice : public CudaTest {};

TEST_F(CudaSlice, Fill) {
  for (const DType dtype : kAll)
    for (const Shape& shape : {Shape{}, Shape{0, 3}, Shape{1023}, Shape{5, 1025}})
      for (const double value : {0.0, 3.0, 200.7}) {
        const Tensor x = Tensor::full(shape, value, dtype, *cuda_);
        const Tensor y = Tensor::full(shape, value, dtype, backend("reference"));
        EXPECT_EQ(bits(x), bits(y)) << name_of(dtype) << ' ' << shape << ' ' << value;
      }
}

TEST_F(CudaSlice, CastEveryPair) {
  const double infinity = std::numeric_limits<double>::infinity();
  Values values = {0.0,           -0.0,       0.5,        -0.5,     1.999,     -1.999,       255.9,
                   256.0,         1e10,       -1e10,      infinity, -infinity, std::nan(""), 2147483647.0,
                   -2147483648.0, 1.00390625, 1.01171875, 3e38,     1e-40};
  for (double value : normals({2000}, 1)) values.push_back(100 * value);
  const Shape shape = {static_cast<std::int64_t>(values.size())};
  for (const DType from : kAll) {
    Values inputs = values;
    if (!is_floating(from))
      inputs = integers(shape, 2, from == DType::u8 ? 0 : -2147483647, from == DType::u8 ? 255 : 2147483647);
    for (const DType to : kAll) {
      const Kernel kernel = [](Backend& b, const std::vector<In>& in, Out y) { b.cast(in[0], y); };
      const Tensor got = run(*cuda_, {{shape, inputs}}, shape, from, to, kernel);
      const Tensor expected = run(backend("reference"), {{shape, inputs}}, shape, from, to, kernel);
      const Values a = download(got), b = download(expected);
      for (std::size_t i = 0; i < a.size(); ++i)
        ASSERT_TRUE(a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i])))
            << name_of(from) << " to " << name_of(to) << ": " << inputs[i] << " gave " << a[i] << ", not "
            << b[i];
    }
  }
}

TEST_F(CudaSlice, StridedCopy) {
  struct Copy {
    const char* what;
    Shape x, y, extent;
    std::int64_t x_offset, y_offset;
    Strides x_strides, y_strides;
  };
  const std::vector<Copy> copies = {
      {"whole", {7, 33}, {7, 33}, {7, 33}, 0, 0, {33, 1}, {33, 1}},
      {"permute",
       {3, 50, 41, 6},
       {3, 6, 50, 41},
       {3, 6, 50, 41},
       0,
       0,
       {12300, 1, 246, 6},
       {12300, 2050, 41, 1}},
      {"slice", {9, 11, 13}, {4, 5, 6}, {4, 5, 6}, 2 * 143 + 3 * 13 + 1, 0, {143, 13, 1}, {30, 6, 1}},
      {"slice with steps", {20, 30}, {7, 10}, {7, 10}, 31, 0, {60, 3}, {10, 1}},
      {"pad", {5, 6}, {8, 9}, {5, 6}, 0, 2 * 9 + 1, {6, 1}, {9, 1}},
      {"flip", {40, 3}, {40, 3}, {40, 3}, 39 * 3, 0, {-3, 1}, {3, 1}},
      {"broadcast", {5, 1, 7}, {5, 300, 7}, {5, 300, 7}, 0, 0, {7, 0, 1}, {2100, 7, 1}},
      {"scalar broadcast", {}, {70, 30}, {70, 30}, 0, 0, {0, 0}, {30, 1}},
      {"nothing", {4, 4}, {4, 4}, {0, 4}, 0, 0, {4, 1}, {4, 1}},
      {"eight dimensions",
       {2, 3, 2, 3, 2, 3, 2, 3},
       {3, 2, 3, 2, 3, 2, 3, 2},
       {3, 2, 3, 2, 3, 2, 3, 2},
       0,
       0,
       {1, 3, 6, 18, 36, 108, 216, 648},
       {432, 216, 72, 36, 12, 6, 2, 1}},
  };
  for (const Copy& c : copies)
    for (const DType dtype : kAll) {
      const Operand x{c.x, integers(c.x, 3, 0, 250)};
      check(
          c.what, {x}, c.y, dtype, dtype,
          [&](Backend& b, const std::vector<In>& in, Out y) {
            b.fill(y, 1);
            b.strided_copy(in[0], c.x_offset, c.x_strides, y, c.y_offset, c.y_strides, c.extent);
          },
          0);
    }
}

TEST_F(CudaSlice, Unary) {
  struct Case {
    UnaryOp op;
    double a, b;
    bool positive;
  };
  const Case cases[] = {{UnaryOp::affine, 1.5, -0.25, false}, {UnaryOp::absolute, 0, 0, false},
                        {UnaryOp::sign, 0, 0, false},         {UnaryOp::exponential, 0, 0, false},
                        {UnaryOp::logarithm, 0, 0, true},     {UnaryOp::square_root, 0, 0, true},
                        {UnaryOp::rsqrt, 0, 0, true},         {UnaryOp::reciprocal, 0, 0, true},
                        {UnaryOp::power, 1.7, 0, true},       {UnaryOp::power, 2, 0, false},
                        {UnaryOp::power, -0.5, 0, true},      {UnaryOp::hyperbolic_tangent, 0, 0, false},
                        {UnaryOp::sigmoid, 0, 0, false},      {UnaryOp::leaky_relu, 0.2, 0, false},
                        {UnaryOp::leaky_relu, 0, 0, false},   {UnaryOp::clamp, -0.5, 0.75, false},
                        {UnaryOp::floor, 0, 0, false}};
  for (const Case& c : cases)
    for (const Shape& shape : {Shape{}, Shape{0}, Shape{1}, Shape{3, 341}, Shape{5000}}) {
      Values values = normals(shape, 4);
      for (double& value : values)
        if (c.positive) value = std::abs(value) + 0.125;
      if (values.size() > 3 && !c.positive) {
        values[1] = 0;
        if (c.op != UnaryOp::exponential && c.op != UnaryOp::power) values[2] = std::nan("");
        if (c.op == UnaryOp::sign) values[2] = -3;
      }
      for (double& value : values) value = BFloat16(static_cast<float>(value));
      check_floating(
          text("unary ", static_cast<int>(c.op), ' ', shape), {{shape, values}}, shape,
          [&](Backend& b, const std::vector<In>& in, Out y) { b.unary(c.op, in[0], y, c.a, c.b); });
    }
}

struct Broadcast {
  Shape a, b, y;
};
const std::vector<Broadcast> kBroadcasts = {
    {{7, 9}, {7, 9}, {7, 9}},
    {{4, 5, 6, 64}, {1, 1, 1, 64}, {4, 5, 6, 64}},
    {{4, 1, 1, 33}, {4, 5, 7, 1}, {4, 5, 7, 33}},
    {{1, 1}, {37, 41}, {37, 41}},
    {{0, 3}, {1, 3}, {0, 3}},
    {{}, {}, {}},
    {{2, 1, 3, 1, 2, 1, 3, 1}, {1, 3, 1, 2, 1, 3, 1, 2}, {2, 3, 3, 2, 2, 3, 3, 2}},
};

TEST_F(CudaSlice, Binary) {
  for (int op = 0; op <= static_cast<int>(BinaryOp::equal); ++op)
    for (const Broadcast& shapes : kBroadcasts) {
      const auto which = static_cast<BinaryOp>(op);
      const std::string what = text("binary ", op, ' ', shapes.y);
      Values b = normals(shapes.b, 6);
      if (which == BinaryOp::divide)
        for (double& value : b) value = BFloat16(static_cast<float>(value + (value < 0 ? -1 : 1)));
      const std::vector<Operand> operands = {{shapes.a, normals(shapes.a, 5)}, {shapes.b, b}};
      const Kernel kernel = [&](Backend& k, const std::vector<In>& in, Out y) {
        k.binary(which, in[0], in[1], y, 0.2);
      };
      const std::vector<Operand> whole = {{shapes.a, integers(shapes.a, 7, 0, 9)},
                                          {shapes.b, integers(shapes.b, 8, 0, 9)}};
      if (is_comparison(which)) {
        for (const DType dtype : kAll) check(what, whole, shapes.y, dtype, DType::u8, kernel, 0);
      } else {
        check_floating(what, operands, shapes.y, kernel);
        if (which != BinaryOp::leaky_relu_grad)
          check(what, whole, shapes.y, DType::i32, DType::i32, kernel, 0);
      }
    }
}

TEST_F(CudaSlice, BinaryTreatsNaNAndIntegerLimitsAsTheReferenceDoes) {
  const double nan = std::nan("");
  for (const BinaryOp op : {BinaryOp::maximum, BinaryOp::minimum, BinaryOp::add})
    check_floating("NaN", {{{4}, {nan, 1, nan, 2}}, {{4}, {1, nan, nan, 3}}}, {4},
                   [&](Backend& b, const std::vector<In>& in, Out y) { b.binary(op, in[0], in[1], y, 0); });
  const double low = -2147483648.0, high = 2147483647.0;
  for (const BinaryOp op : {BinaryOp::add, BinaryOp::subtract, BinaryOp::multiply, BinaryOp::divide})
    check(
        "wrap", {{{5}, {low, high, low, 7, high}}, {{5}, {-1, 1, 1, 0, high}}}, {5}, DType::i32, DType::i32,
        [&](Backend& b, const std::vector<In>& in, Out y) { b.binary(op, in[0], in[1], y, 0); }, 0);
}

TEST_F(CudaSlice, OperandMayBeOverwritten) {
  const Shape shape = {3000};
  const Values a = normals(shape, 9), b = normals(shape, 10);
  for (const DType dtype : kFloating) {
    const Tensor x = upload(a, shape, dtype, *cuda_), y = upload(b, shape, dtype, *cuda_);
    const Tensor sum = Tensor::empty(shape, dtype, *cuda_);
    cuda_->binary(BinaryOp::add, x.in(), y.in(), sum.out(), 0);
    cuda_->binary(BinaryOp::add, x.in(), y.in(), x.out(), 0);
    EXPECT_EQ(bits(x), bits(sum));
    cuda_->unary(UnaryOp::affine, sum.in(), sum.out(), 1, 0);
    EXPECT_EQ(bits(x), bits(sum));
  }
}

TEST_F(CudaSlice, Where) {
  for (const Broadcast& shapes : kBroadcasts)
    for (const DType dtype : kAll) {
      const Operand condition{shapes.b, integers(shapes.b, 11, 0, 1), DType::u8};
      check(
          text("where ", shapes.y),
          {condition, {shapes.a, integers(shapes.a, 12, 0, 99)}, {shapes.y, integers(shapes.y, 13, 0, 99)}},
          shapes.y, dtype, dtype,
          [](Backend& b, const std::vector<In>& in, Out y) { b.where(in[0], in[1], in[2], y); }, 0);
    }
}

TEST_F(CudaSlice, Reduce) {
  const std::vector<std::pair<Shape, Shape>> cases = {
      {{}, {}},
      {{5}, {5}},
      {{1000}, {1}},
      {{300001}, {1}},
      {{3, 4, 5, 6}, {1, 1, 1, 6}},
      {{3, 4, 5, 6}, {3, 1, 1, 1}},
      {{3, 4, 5, 6}, {1, 4, 1, 6}},
      {{3, 4, 5, 6}, {3, 1, 5, 1}},
      {{2, 60, 61, 67}, {1, 1, 1, 67}},
      {{2, 60, 61, 67}, {2, 1, 1, 67}},
      {{2, 60, 61, 67}, {2, 60, 61, 1}},
      {{16, 128, 128, 3}, {1, 1, 1, 3}},
      {{100000, 2}, {100000, 1}},
      {{2, 3, 2, 3, 2, 3, 2, 3}, {1, 3, 1, 3, 1, 3, 1, 3}},
      {{0, 4}, {1, 4}},
      {{4, 0}, {4, 0}},
  };
  for (const auto& [x, y] : cases)
    for (const ReduceOp op : {ReduceOp::sum, ReduceOp::max}) {
      const Operand operand{x, normals(x, 14)};
      const Kernel kernel = [op = op](Backend& b, const std::vector<In>& in, Out out) {
        b.reduce(op, in[0], out);
      };
      const std::string what = text("reduce ", x, " to ", y);
      check_floating(what, {operand}, y, kernel, {2e-6, 1e-13, 4e-3});
      check(what, {operand}, y, DType::bf16, DType::f32, kernel, 2e-6);
      check(what, {operand}, y, DType::bf16, DType::f64, kernel, 1e-13);
      check(what, {operand}, y, DType::f32, DType::f64, kernel, 1e-13);
    }
}

TEST_F(CudaSlice, MaxOverNaNIsNaN) {
  Values values = normals({50, 300}, 15);
  values[7 * 300 + 123] = std::nan("");
  for (const Shape& y : {Shape{50, 1}, Shape{1, 300}, Shape{1, 1}})
    check_floating("max", {{{50, 300}, values}}, y, [](Backend& b, const std::vector<In>& in, Out out) {
      b.reduce(ReduceOp::max, in[0], out);
    });
}

TEST_F(CudaSlice, LongFloatSumsStayAccurate) {
  // A running float sum of 2^26 numbers near 1 stops at 2^24.
  const std::int64_t count = std::int64_t{1} << 26;
  Storage::set_guard(0);
  const Tensor x = Tensor::full({count}, 1.0009765625, DType::f32, *cuda_);
  const Tensor y = Tensor::empty({1}, DType::f32, *cuda_);
  cuda_->reduce(ReduceOp::sum, x.in(), y.out());
  EXPECT_NEAR(y.item() / static_cast<double>(count), 1.0009765625, 1e-6);
}

TEST_F(CudaSlice, MoreThanFourBillionElements) {
  Storage::set_guard(0);
  const std::int64_t count = (std::int64_t{1} << 32) + 1029;
  Tensor bytes, flags;
  try {
    bytes = Tensor::full({count}, 7, DType::u8, *cuda_);
    flags = Tensor::empty({count}, DType::u8, *cuda_);
  } catch (const OutOfMemory& error) {
    GTEST_SKIP() << error.what();
  }
  const Tensor seven = Tensor::full({1}, 7, DType::u8, *cuda_);
  cuda_->fill(flags.out(), 0);
  cuda_->binary(BinaryOp::equal, bytes.in(), seven.in(), flags.out(), 0);
  const Tensor tail = Tensor::zeros({3}, DType::u8, *cuda_);
  cuda_->strided_copy(flags.in(), count - 1, {-1}, tail.out(), 0, {1}, {3});
  EXPECT_EQ(download(tail), Values({1, 1, 1}));
  const std::int64_t columns = 64, rows = (std::int64_t{1} << 26) + 3;
  const Tensor x = Tensor::full({rows, columns}, 1, DType::bf16, *cuda_);
  const Tensor sums = Tensor::empty({1, columns}, DType::f64, *cuda_);
  cuda_->reduce(ReduceOp::sum, x.in(), sums.out());
  EXPECT_EQ(download(sums).back(), static_cast<double>(rows));
  cuda_->memory().release_cached();
}

/// conv2d, leaky relu, its pixel means and their sum: what a captured step consists of, temporaries included.
Tensor step(Backend& b, const Tensor& x, const Tensor& w) {
  const Shape& s = x.shape();
  const Tensor y = Tensor::empty({s[0], s[1], s[2], w.shape()[0]}, x.dtype(), b);
  b.conv2d(x.in(), w.in(), y.out(), {1, 1, 1, 1, Math::strict});
  const Tensor activated = Tensor::empty(y.shape(), x.dtype(), b);
  b.unary(UnaryOp::leaky_relu, y.in(), activated.out(), 0.2, 0);
  const Tensor mean = Tensor::empty({s[0], 1, 1, w.shape()[0]}, x.dtype(), b);
  b.reduce(ReduceOp::sum, activated.in(), mean.out());
  const Tensor result = Tensor::empty(y.shape(), x.dtype(), b);
  b.binary(BinaryOp::multiply, activated.in(), mean.in(), result.out(), 0);
  return result;
}

TEST_F(CudaSlice, CapturedGraphReplaysToTheBit) {
  Storage::set_guard(0);  // guards are written from the host
  for (const DType dtype : kFloating) {
    const Shape shape = {2, 24, 24, 19}, weights = {32, 3, 3, 19};
    const Tensor x = upload(normals(shape, 19), shape, dtype, *cuda_);
    const Tensor w = upload(normals(weights, 20), weights, dtype, *cuda_);
    const auto eager = bits(step(*cuda_, x, w));

    ASSERT_TRUE(cuda_->begin_capture());
    Tensor result = step(*cuda_, x, w);
    const std::unique_ptr<CapturedGraph> graph = cuda_->end_capture();
    graph->replay();
    EXPECT_EQ(bits(result), eager) << name_of(dtype);

    // Other work in between must not touch the graph's memory.
    for (int i = 0; i < 8; ++i)
      EXPECT_EQ(download(Tensor::full(result.shape(), 77, dtype, *cuda_)).front(), 77.0);
    x.assign(upload(normals(shape, 21), shape, dtype, *cuda_));
    graph->replay();
    const auto replayed = bits(result);
    EXPECT_NE(replayed, eager);
    EXPECT_EQ(replayed, bits(step(*cuda_, x, w))) << name_of(dtype);
    for (int i = 0; i < 20; ++i) graph->replay();
    EXPECT_EQ(bits(result), replayed);
  }
}

TEST_F(CudaSlice, CapturesWhatNeverRanBefore) {
  // A plan, a library handle and a sort are made during the capture.
  Storage::set_guard(0);
  const Shape shape = {1, 10, 12, 21}, weights = {9, 3, 3, 21};
  const Tensor x = upload(normals(shape, 30), shape, DType::f32, *cuda_);
  const Tensor w = upload(normals(weights, 31), weights, DType::f32, *cuda_);
  const Tensor a = upload(normals({3, 17, 19}, 32), {3, 17, 19}, DType::f32, *cuda_);
  const Tensor b = upload(normals({1, 19, 23}, 33), {1, 19, 23}, DType::f32, *cuda_);
  const Tensor index = upload(integers({3, 17}, 34, 0, 4), {3, 17}, DType::i32, *cuda_);
  const Tensor state = Tensor::from_host(std::vector<std::int32_t>{1, 2, 3, 4}, {4}, *cuda_);
  const Tensor product = Tensor::empty({3, 17, 23}, DType::f32, *cuda_);
  const Tensor sums = Tensor::empty({3, 5}, DType::f32, *cuda_);
  const Tensor draws = Tensor::empty({3, 17}, DType::f32, *cuda_);
  const auto all = [&] {
    cuda_->matmul(a.in(), b.in(), product.out(), {});
    cuda_->random(draws.out(), Distribution::normal, state.in());
    cuda_->scatter_add(draws.in(), index.in(), sums.out());
    return step(*cuda_, x, w);
  };
  ASSERT_TRUE(cuda_->begin_capture());
  const Tensor result = all();
  const auto graph = cuda_->end_capture();
  graph->replay();
  const auto replayed = bits(result), replayed_product = bits(product), replayed_sums = bits(sums);
  product.fill(0);
  sums.fill(0);
  const Tensor eager = all();
  EXPECT_EQ(bits(eager), replayed);
  EXPECT_EQ(bits(product), replayed_product);
  EXPECT_EQ(bits(sums), replayed_sums);
}

TEST_F(CudaSlice, ReadingDuringCaptureIsAnErrorInOneLine) {
  Storage::set_guard(0);
  const Tensor x = Tensor::full({4}, 3, DType::f32, *cuda_);
  ASSERT_TRUE(cuda_->begin_capture());
  cuda_->unary(UnaryOp::affine, x.in(), x.out(), 2, 0);
  std::string message;
  try {
    x.to_host<float>();
  } catch (const Error& error) {
    message = error.what();
  }
  EXPECT_EQ(message, "cuda: reading a value is not possible while a graph is being captured");
  EXPECT_THROW(cuda_->synchronize(), Error);
  EXPECT_THROW(cuda_->begin_capture(), Error);
  EXPECT_THROW(Tensor::from_host(std::vector<float>{1}, {1}, *cuda_), Error);
  const auto graph = cuda_->end_capture();
  EXPECT_EQ(x.to_host<float>().front(), 3.0F);  // recorded, not run
  graph->replay();
  EXPECT_EQ(x.to_host<float>().front(), 6.0F);
  EXPECT_THROW(cuda_->end_capture(), Error);
}

TEST_F(CudaSlice, DroppedGraphGivesItsMemoryBack) {
  Storage::set_guard(0);
  cuda_->synchronize();
  cuda_->memory().release_cached();
  const auto before = cuda_->memory().statistics();
  ASSERT_TRUE(cuda_->begin_capture());
  { const Tensor x = Tensor::full({1 << 20}, 1, DType::f32, *cuda_); }
  auto graph = cuda_->end_capture();
  EXPECT_GE(cuda_->memory().statistics().cached_bytes, before.cached_bytes + (std::size_t{4} << 20));
  graph->replay();
  graph.reset();
  EXPECT_EQ(cuda_->memory().statistics().cached_bytes, before.cached_bytes);
}

TEST_F(CudaSlice, PinnedMemoryAndFailures) {
  const std::size_t count = 100000;
  auto* pinned = static_cast<float*>(cuda_->allocate_pinned(count * sizeof(float)));
  for (std::size_t i = 0; i < count; ++i) pinned[i] = static_cast<float>(i);
  const Tensor x = Tensor::empty({static_cast<std::int64_t>(count)}, DType::f32, *cuda_);
  cuda_->copy_from_host(x.out().data, pinned, count * sizeof(float));
  cuda_->synchronize();
  cuda_->release_pinned(pinned);
  EXPECT_EQ(x.to_host<float>().back(), 99999.0F);
  EXPECT_THROW(Tensor::empty({std::int64_t{1} << 50}, DType::u8, *cuda_), OutOfMemory);
  EXPECT_EQ(x.to_host<float>().front(), 0.0F);  // usable after running out
}

}  // namespace
}  // namespace om::cuda_check
