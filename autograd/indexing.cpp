// Max pooling, gather and scatter_add. Pooling picks elements, so its derivative scatters the gradient back
// to the places it picked from; the derivative of that gathers, and the two alternate from there on.
#include <cstdint>

#include "autograd/checks.h"

namespace om {
namespace {

using namespace detail;

std::int64_t pooled_size(std::int64_t size, const Pool2d& o) {
  // 0 <= 2 pad <= kernel, so that these stay within 64 bits.
  const std::int64_t room = size - (o.kernel - 2 * o.pad);
  if (size == 0 || (room < 0 && !o.ceil_mode)) return 0;
  const std::int64_t steps = std::max<std::int64_t>(0, room);
  std::int64_t windows = steps / o.stride + (o.ceil_mode && steps % o.stride != 0) + 1;
  if (o.ceil_mode && windows > 1 && (windows - 1) > (checked_sum("max_pool2d", size, o.pad) - 1) / o.stride)
    --windows;
  return windows;
}

void check_pair(const char* op, const Tensor& x, const Tensor& index) {
  expect_rank(op, "x", x, 2);
  expect_rank(op, "index", index, 2);
  same_backend(op, x, index);
  if (index.dtype() != DType::i32) fail(op, ": expects an i32 index, got ", name_of(index.dtype()));
  if (x.size(0) != index.size(0))
    fail(op, ": batch sizes differ (x ", x.shape(), ", index ", index.shape(), ")");
}

Shape flat(const Shape& shape) { return {shape[0], shape[0] == 0 ? 0 : shape.elements() / shape[0]}; }

}  // namespace

Tensor max_pool2d(const Tensor& x, const Pool2d& o) {
  expect_rank("max_pool2d", "x", x, 4);
  expect_floating("max_pool2d", x);
  if (o.kernel < 1 || o.stride < 1 || o.pad < 0 || o.pad > o.kernel / 2)
    fail("max_pool2d: expects kernel, stride >= 1 and 0 <= 2 pad <= kernel, got kernel ", o.kernel,
         ", stride ", o.stride, ", pad ", o.pad);
  if (Shape{x.size(1), x.size(2), x.size(3)}.elements() > INT32_MAX)
    fail("max_pool2d: expects less than 2^31 elements a sample, got x ", x.shape());
  Tensor y = x.empty_like({x.size(0), pooled_size(x.size(1), o), pooled_size(x.size(2), o), x.size(3)});
  const Tensor index = Tensor::empty(y.shape(), DType::i32, x.backend());
  x.backend().max_pool2d(x.in(), y.out(), index.out(),
                         {o.kernel, o.kernel, o.stride, o.stride, o.pad, o.pad});
  return record("max_pool2d", y, {x}, kKeepNothing, [index, from = x.shape()](const Saved&, const Tensor& g) {
    const Shape picked = flat(index.shape());
    return Gradients{reshape(scatter_add(reshape(g, picked), index.with_shape(picked), flat(from)[1]), from)};
  });
}

Tensor gather(const Tensor& x, const Tensor& index) {
  check_pair("gather", x, index);
  Tensor y = x.empty_like(index.shape());
  x.backend().gather(x.in(), index.in(), y.out());
  return record("gather", y, {x, index}, keep_input(1), [size = x.size(1)](const Saved& s, const Tensor& g) {
    return Gradients{scatter_add(g, s.input(1), size), Tensor()};
  });
}

Tensor scatter_add(const Tensor& x, const Tensor& index, std::int64_t size) {
  check_pair("scatter_add", x, index);
  if (x.shape() != index.shape()) fail("scatter_add: x ", x.shape(), " and index ", index.shape(), " differ");
  Tensor y = x.empty_like({x.size(0), size});
  x.backend().scatter_add(x.in(), index.in(), y.out());
  return record("scatter_add", y, {x, index}, keep_input(1), [](const Saved& s, const Tensor& g) {
    return Gradients{gather(g, s.input(1)), Tensor()};
  });
}

}  // namespace om
