// conformance [--backend NAME] [--vector BYTES]: what a porter runs. Every case of the table on the backend
// in each of its dtypes against the reference backend, which runs in double unless the case is exact: results
// and gradients (Conformance.OP/VARIANT/DTYPE), with guards around every tensor and every tensor starting as
// NaN. Then every case again, for the same bits (Repeats.OP/VARIANT): twice, and where the host computes with
// 1, 2 and 3 threads. Memory.* is what no case can say.
//
// --vector 32 keeps the cpu backend's products to vectors of 32 bytes, as on a processor without AVX-512.
#include <algorithm>
#include <cstdlib>

#include "autograd/grad.h"
#include "tensor/cpu/kernels.h"
#include "tensor/replay.h"
#include "tests/cases/program.h"
#include "tests/conformance/comparison.h"

namespace om::conformance {
namespace {

using cases::Case;
using Vectors = std::vector<std::vector<double>>;

struct Outcome {
  Shape shape;
  std::vector<Tensor> results;  // the function's, then the gradient of each differentiable input
};

Outcome run(const Case& c, const Vectors& numbers, DType dtype, Backend& on) {
  const cases::Inputs inputs = cases::tensors(c, numbers, dtype, on);
  std::vector<Tensor> marked;
  if (c.order > 0)
    for (std::size_t i = 0; i < inputs.size(); ++i)
      if (c.inputs[i].differentiable) marked.push_back(require_grad(inputs[i]));
  const Tensor y = c.function(inputs);
  Outcome outcome{y.shape(), {y.detach()}};
  if (!marked.empty()) {
    const Tensor r = cases::tensor(cases::draw_weights(y.elements(), 1), y.shape(), y.dtype(), on);
    for (Tensor& g : grad({y}, marked, {.output_gradients = {r}})) outcome.results.push_back(std::move(g));
  }
  return outcome;
}

struct Expected {
  Shape shape;
  std::vector<Shape> shapes;
  Vectors results;
};

/// What the reference gives. The last answer is kept: cases of exact numbers are the same in every dtype.
const Expected& expected_of(const Case& c, const Vectors& numbers, DType dtype) {
  static const Case* last_case = nullptr;
  static DType last_dtype = DType::f64;
  static Vectors last_numbers;
  static Expected answer;
  const DType used = c.exact || !is_floating(dtype) ? dtype : DType::f64;
  if (last_case == &c && last_dtype == used && last_numbers == numbers) return answer;
  const Outcome outcome = run(c, numbers, used, om::backend("reference"));
  last_case = &c;
  last_dtype = used;
  last_numbers = numbers;
  answer = {outcome.shape, {}, {}};
  for (const Tensor& result : outcome.results) {
    answer.shapes.push_back(result.shape());
    answer.results.push_back(cases::numbers_of(result));
  }
  return answer;
}

harness::Rule rule_of(const Case& c, DType dtype) {
  const double tolerance = c.exact || !is_floating(dtype) ? 0
                           : dtype == DType::f64          ? c.tolerance_f64
                           : dtype == DType::bf16         ? c.tolerance_bf16
                                                          : c.tolerance;
  return {tolerance, c.scale, c.nonfinite};
}

std::string name_of_result(std::size_t i) { return i == 0 ? "result" : text("gradient ", i - 1); }

void expect_conformance(const Case& c, DType dtype, Backend& backend) {
  if (const auto missing = cases::lacking(c, dtype, backend))
    GTEST_SKIP() << backend.name() << " has no " << name_of(*missing);
  const Vectors numbers = cases::draw(c, dtype);
  const Expected& expected = expected_of(c, numbers, dtype);
  const Guarded guarded;
  const Outcome found = run(c, numbers, dtype, backend);
  ASSERT_EQ(found.shape, expected.shape);
  ASSERT_EQ(found.results.size(), expected.results.size());
  for (std::size_t i = 0; i < found.results.size(); ++i) {
    ASSERT_EQ(found.results[i].shape(), expected.shapes[i]) << name_of_result(i);
    EXPECT_EQ(
        harness::difference(cases::numbers_of(found.results[i]), expected.results[i], rule_of(c, dtype)), "")
        << name_of_result(i);
  }
}

std::vector<DType> dtypes_of(const Case& c) {
  std::vector<DType> dtypes;
  for (const DType dtype : c.dtypes)
    if (dtype != DType::bf16 || c.tolerance_bf16 > 0 || c.exact) dtypes.push_back(dtype);
  return dtypes;
}

/// Kernels in every dtype; of the ops above them f32 alone, for they run the same kernels.
void expect_same_bits(const Case& c, Backend& backend) {
  for (const DType dtype : dtypes_of(c)) {
    if (cases::lacking(c, dtype, backend) || (c.order > 0 && dtype != DType::f32)) continue;
    const Vectors numbers = cases::draw(c, dtype);
    const auto run_with = [&](int threads) {
      if (backend.host_memory()) set_threads(threads);
      return run(c, numbers, dtype, backend);
    };
    const Outcome once = run_with(1);
    for (const int threads : {2, 3}) {
      const Outcome again = run_with(threads);
      for (std::size_t i = 0; i < once.results.size(); ++i)
        EXPECT_EQ(bytes_of(once.results[i]), bytes_of(again.results[i]))
            << name_of_result(i) << " in " << name_of(dtype) << " differs"
            << (backend.host_memory() ? text(" between 1 and ", threads, " threads") : " when repeated");
    }
  }
  set_threads(0);
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

/// The copy has its place in the queue: what comes later does not show in it.
void reads_later(Backend& b) {
  const std::vector<double> numbers = cases::draw_weights(5003, 1);
  const auto bytes = static_cast<std::size_t>(5003) * sizeof(float);
  Tensor x = cases::tensor(numbers, {5003}, DType::f32, b);
  const std::unique_ptr<PendingRead> first = b.read_later(x.in().data, bytes);
  x.fill(3);
  const std::unique_ptr<PendingRead> second = b.read_later(x.in().data, bytes);
  x = Tensor();
  Tensor::full({5003}, 7, DType::f32, b);
  ASSERT_EQ(second->wait().size(), bytes);
  EXPECT_TRUE(second->arrived());
  EXPECT_TRUE(first->arrived());
  const auto* values = reinterpret_cast<const float*>(first->wait().data());
  EXPECT_EQ(std::vector<double>(values, values + 5003), numbers);
  const auto* threes = reinterpret_cast<const float*>(second->wait().data());
  EXPECT_EQ(std::count(threes, threes + 5003, 3.0F), 5003);
  EXPECT_EQ(b.read_later(nullptr, 0)->wait().size(), 0U);
}

/// Every call does what the body does, on what the tensors hold then; a body that fails may be called again.
void replays(Backend& b) {
  const Tensor x = Tensor::zeros({3}, DType::f32, b);
  Tensor y;
  int runs = 0;
  bool fails = false;
  const Tensor sum = Tensor::zeros({3}, DType::f32, b);
  const std::shared_ptr<Storage> written = sum.storage();
  const auto body = [&] {
    ++runs;
    y = Tensor::empty({3}, DType::f32, b);
    if (fails) fail("the body");
    b.unary(UnaryOp::affine, x.in(), y.out(), 2, 1);
    b.binary(BinaryOp::add, sum.in(), y.in(), sum.out(), 0);
  };
  Replay twice(b, body, {sum});
  double total = 0;
  for (int i = 0; i < 5; ++i) {
    x.fill(i);
    fails = i == 1;
    if (fails) {
      EXPECT_THROW(twice(), Error);
      continue;
    }
    const std::uint64_t version = written->version();
    twice();
    EXPECT_GT(written->version(), version) << "a replay writes too, " << i;
    EXPECT_EQ(y.to_host<float>(), std::vector<float>(3, static_cast<float>(2 * i + 1))) << i;
    total += 2 * i + 1;
    EXPECT_EQ(sum.to_host<float>(), std::vector<float>(3, static_cast<float>(total))) << i;
  }
  EXPECT_EQ(runs, twice.recorded() ? 3 : 5);
}

/// What was handed over may be overwritten at once, though the copy waits behind a long queue.
void source_is_reused(Backend& b) {
  constexpr std::int64_t kSize = 1 << 20;
  Tensor x = Tensor::full({kSize}, 0.5, DType::f32, b);
  const Tensor y = Tensor::empty({kSize}, DType::f32, b);
  for (int i = 0; i < 40; ++i) b.unary(UnaryOp::exponential, x.in(), x.out(), 0, 0);
  std::vector<float> numbers(kSize, 3);
  b.copy_from_host(y.out().data, numbers.data(), numbers.size() * sizeof(float));
  std::fill(numbers.begin(), numbers.end(), 7.0F);
  const std::vector<float> found = y.to_host<float>();
  EXPECT_EQ(std::count(found.begin(), found.end(), 3.0F), kSize);
}

/// Memory may go back to the device while kernels that use it still wait in the queue.
void released_while_queued(Backend& b) {
  constexpr std::int64_t kSize = 1 << 22;
  Tensor x = Tensor::full({kSize}, 2, DType::f32, b);
  const Tensor y = Tensor::empty({kSize}, DType::f32, b);
  for (int i = 0; i < 20; ++i) b.unary(UnaryOp::square_root, x.in(), y.out(), 0, 0);
  b.unary(UnaryOp::affine, x.in(), y.out(), 3, 1);
  x = Tensor();
  b.memory().release_cached();
  const std::vector<float> found = y.to_host<float>();
  EXPECT_EQ(std::count(found.begin(), found.end(), 7.0F), kSize);
}

/// In the order in which a port is written: memory, the kernels one by one, what is built on them, and last
/// the same again for the same bits.
void add_tests(Backend& backend) {
  cases::add_test("Memory", "copies", [&] { copies(backend); });
  cases::add_test("Memory", "source_is_reused", [&] { source_is_reused(backend); });
  cases::add_test("Memory", "released_while_queued", [&] { released_while_queued(backend); });
  cases::add_test("Memory", "read_later", [&] { reads_later(backend); });
  cases::add_test("Memory", "replay", [&] { replays(backend); });
  for (const bool kernels : {true, false})
    for (const Case& c : cases::all()) {
      if ((c.drivers & cases::kConformance) == 0 || c.name.starts_with("kernel/") != kernels) continue;
      for (const DType dtype : dtypes_of(c))
        cases::add_test("Conformance", text(c.name, "/", name_of(dtype)),
                        [&, dtype] { expect_conformance(c, dtype, backend); });
    }
  for (const Case& c : cases::all())
    if ((c.drivers & cases::kConformance) != 0)
      cases::add_test("Repeats", c.name, [&] { expect_same_bits(c, backend); });
}

}  // namespace
}  // namespace om::conformance

int main(int argc, char** argv) {
  const std::string vector = om::cases::take_option(argc, argv, "--vector", "0");
  om::cpu::limit_vector_bytes(std::atoi(vector.c_str()));
  return om::cases::run_program(argc, argv, om::conformance::add_tests);
}
