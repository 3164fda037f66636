// What only the cuda backend has: sizes beyond 32 bits, captured graphs, pinned memory. (Its kernels are held
// by the table of cases: conformance --backend cuda.)
#include <gtest/gtest.h>

#include "tests/tensor/cuda_check.h"

namespace om::cuda_check {
namespace {

class CudaSlice : public CudaTest {};

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
