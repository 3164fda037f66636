// conformance [--backend NAME]: what a porter runs. Every case of the table on the backend in f32, f64 and
// bf16 against the reference backend in double, forward and gradients (Conformance.OP/VARIANT/DTYPE), with
// guards around every tensor and every tensor starting as NaN; then kernels the table cannot reach
// (Kernels.*). On the cpu each result must also have the same bits with 1 and with 3 threads.
#include "autograd/grad.h"
#include "tests/cases/program.h"
#include "tests/conformance/comparison.h"
#include "tests/conformance/kernels.h"

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

double tolerance_of(const Case& c, DType dtype) {
  switch (dtype) {
    case DType::f64: return 1e-12;
    case DType::bf16: return c.tolerance_bf16;
    default: return c.tolerance;
  }
}

std::string name_of_result(std::size_t i) { return i == 0 ? "result" : text("gradient ", i - 1); }

void expect_conformance(const Case& c, DType dtype, Backend& backend) {
  if (!backend.supports(dtype)) GTEST_SKIP() << backend.name() << " has no " << name_of(dtype);
  const Vectors numbers = cases::draw(c, dtype);
  const Outcome expected = run(c, numbers, DType::f64, om::backend("reference"));
  const Guarded guarded;
  const Outcome found = run(c, numbers, dtype, backend);
  ASSERT_EQ(found.shape, expected.shape);
  ASSERT_EQ(found.results.size(), expected.results.size());
  for (std::size_t i = 0; i < found.results.size(); ++i) {
    ASSERT_EQ(found.results[i].shape(), expected.results[i].shape()) << name_of_result(i);
    expect_close(name_of_result(i), cases::numbers_of(found.results[i]),
                 cases::numbers_of(expected.results[i]), tolerance_of(c, dtype), c.nonfinite);
  }
}

void expect_same_bits(const Case& c, Backend& backend) {
  const Vectors numbers = cases::draw(c, DType::f32);
  const auto run_with = [&](int threads) {
    set_threads(threads);
    return run(c, numbers, DType::f32, backend);
  };
  const Outcome one = run_with(1), three = run_with(3);
  set_threads(0);
  for (std::size_t i = 0; i < one.results.size(); ++i)
    EXPECT_EQ(bytes_of(one.results[i]), bytes_of(three.results[i]))
        << name_of_result(i) << " differs between 1 and 3 threads";
}

void add_tests(Backend& backend) {
  for (const Case& c : cases::all()) {
    if ((c.drivers & cases::kConformance) == 0) continue;
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16}) {
      if (dtype == DType::bf16 && c.tolerance_bf16 == 0) continue;
      cases::add_test("Conformance", text(c.name, "/", name_of(dtype)),
                      [&, dtype] { expect_conformance(c, dtype, backend); });
    }
    if (backend.host_memory()) cases::add_test("Threads", c.name, [&] { expect_same_bits(c, backend); });
  }
  add_kernel_tests(backend);
}

}  // namespace
}  // namespace om::conformance

int main(int argc, char** argv) { return om::cases::run_program(argc, argv, om::conformance::add_tests); }
