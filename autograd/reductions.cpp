// Sums and means. sum and broadcast are each other's derivative.
#include "autograd/checks.h"

namespace om {
namespace {

using namespace detail;

/// Sums x to `kept` (x's rank, reduced dimensions 1) and presents it as `shape`.
Tensor run_sum(const Tensor& x, const Shape& kept, const Shape& shape) {
  expect_floating("sum", x);
  const DType dtype = x.dtype() == DType::bf16 ? DType::f32 : x.dtype();
  Tensor y = Tensor::empty(kept, dtype, x.backend());
  x.backend().reduce(ReduceOp::sum, x.in(), y.out());
  return record("sum", y.with_shape(shape), {x}, kKeepNothing,
                [kept, from = x.shape(), dtype = x.dtype()](const Saved&, const Tensor& g) {
                  return Gradients{broadcast(reshape(cast(g, dtype), kept), from)};
                });
}

Shape ones(int rank) { return aligned(Shape{}, rank); }

}  // namespace

Tensor sum(const Tensor& x) { return run_sum(x, ones(x.rank()), {}); }

Tensor sum(const Tensor& x, const std::vector<int>& dimensions) {
  Shape kept = x.shape();
  for (const int i : dimensions) kept[dimension("sum", i, x)] = 1;
  return run_sum(x, kept, kept);
}

Tensor mean(const Tensor& x) { return sum(x) / static_cast<double>(x.elements()); }

Tensor mean(const Tensor& x, const std::vector<int>& dimensions) {
  const Tensor total = sum(x, dimensions);
  return total * (static_cast<double>(total.elements()) / static_cast<double>(x.elements()));
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  const Shape kept = aligned(shape, x.rank());
  if (kept.rank() > x.rank()) fail("sum_to: ", x.shape(), " does not sum to ", shape);
  for (int i = 0; i < x.rank(); ++i)
    if (kept[i] != 1 && kept[i] != x.size(i)) fail("sum_to: ", x.shape(), " does not sum to ", shape);
  return cast(run_sum(x, kept, shape), x.dtype());
}

Tensor max(const Tensor& x) {
  expect_floating("max", x);
  Tensor y = x.empty_like(ones(x.rank()));
  x.backend().reduce(ReduceOp::max, x.in(), y.out());
  op_ran("max");
  return y.with_shape({});
}

}  // namespace om
