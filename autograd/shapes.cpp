// Ops that move elements without computing. All but reshape are one strided copy; their derivatives are one
// another: permute <-> the inverse permute, slice <-> pad, concat -> slices, flip <-> flip, broadcast ->
// sum_to.
#include "autograd/checks.h"

namespace om {
namespace {

using namespace detail;

/// The shape of x with dimension d replaced.
Shape with_size(const Shape& shape, int d, std::int64_t size) {
  Shape result = shape;
  result[d] = size;
  return result;
}

/// Copies all of x into y at `start` along dimension d.
void copy_into(const Tensor& x, const Tensor& y, int d, std::int64_t start) {
  const Strides to = y.shape().strides();
  x.backend().strided_copy(x.in(), 0, x.shape().strides(), y.out(), start * to[static_cast<std::size_t>(d)],
                           to, x.shape());
}

}  // namespace

Tensor reshape(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  return record("reshape", x.with_shape(shape), {x}, kKeepNothing,
                [from = x.shape()](const Saved&, const Tensor& g) { return Gradients{reshape(g, from)}; });
}

Tensor permute(const Tensor& x, const std::vector<int>& order) {
  const auto rank = static_cast<std::size_t>(x.rank());
  std::vector<int> inverse(rank, -1);
  if (order.size() != rank)
    fail("permute: expects ", rank, " dimensions, got ", order.size(), " (x ", x.shape(), ")");
  const Strides from = x.shape().strides();
  Shape shape;
  Strides strides{};
  for (std::size_t i = 0; i < rank; ++i) {
    const int d = dimension("permute", order[i], x);
    if (inverse[static_cast<std::size_t>(d)] >= 0)
      fail("permute: dimension ", d, " twice (x ", x.shape(), ")");
    inverse[static_cast<std::size_t>(d)] = static_cast<int>(i);
    shape.append(x.size(d));
    strides[i] = from[static_cast<std::size_t>(d)];
  }
  Tensor y = x.empty_like(shape);
  x.backend().strided_copy(x.in(), 0, strides, y.out(), 0, shape.strides(), shape);
  return record("permute", y, {x}, kKeepNothing,
                [inverse](const Saved&, const Tensor& g) { return Gradients{permute(g, inverse)}; });
}

Tensor slice(const Tensor& x, int dimension_, std::int64_t start, std::int64_t size) {
  const int d = dimension("slice", dimension_, x);
  const std::int64_t whole = x.size(d);
  if (start < 0 || size < 0 || start > whole - size)
    fail("slice: ", size, " from ", start, " of dimension ", d, " of ", x.shape());
  if (start == 0 && size == whole) return x;
  Tensor y = x.empty_like(with_size(x.shape(), d, size));
  const Strides from = x.shape().strides();
  x.backend().strided_copy(x.in(), start * from[static_cast<std::size_t>(d)], from, y.out(), 0,
                           y.shape().strides(), y.shape());
  return record("slice", y, {x}, kKeepNothing,
                [d, start, after = whole - size - start](const Saved&, const Tensor& g) {
                  return Gradients{pad(g, d, start, after)};
                });
}

Tensor pad(const Tensor& x, int dimension_, std::int64_t before, std::int64_t after) {
  const int d = dimension("pad", dimension_, x);
  if (before < 0 || after < 0) fail("pad: expects sizes >= 0, got ", before, " and ", after);
  if (before == 0 && after == 0) return x;
  const std::int64_t size = checked_sum("pad", checked_sum("pad", before, x.size(d)), after);
  Tensor y = Tensor::zeros(with_size(x.shape(), d, size), x.dtype(), x.backend());
  copy_into(x, y, d, before);
  return record("pad", y, {x}, kKeepNothing, [d, before, size = x.size(d)](const Saved&, const Tensor& g) {
    return Gradients{slice(g, d, before, size)};
  });
}

Tensor concat(const std::vector<Tensor>& parts, int dimension_) {
  if (parts.empty()) fail("concat: expects at least one tensor");
  if (parts.size() == 1) return parts[0];
  const Tensor& first = parts[0];
  const int d = dimension("concat", dimension_, first);
  std::vector<std::int64_t> sizes;
  std::int64_t total = 0;
  for (const Tensor& part : parts) {
    same_backend("concat", first, part);
    if (part.rank() != first.rank() || with_size(part.shape(), d, 0) != with_size(first.shape(), d, 0) ||
        part.dtype() != first.dtype())
      fail("concat: along dimension ", d, ", ", part.shape(), " of ", name_of(part.dtype()), " does not fit ",
           first.shape(), " of ", name_of(first.dtype()));
    sizes.push_back(part.size(d));
    total = checked_sum("concat", total, part.size(d));
  }
  Tensor y = first.empty_like(with_size(first.shape(), d, total));
  std::int64_t start = 0;
  for (const Tensor& part : parts) {
    copy_into(part, y, d, start);
    start += part.size(d);
  }
  return record("concat", y, parts, kKeepNothing, [d, sizes](const Saved& s, const Tensor& g) {
    Gradients gradients;
    std::int64_t from = 0;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      gradients.push_back(s.needs(static_cast<int>(i)) ? slice(g, d, from, sizes[i]) : Tensor());
      from += sizes[i];
    }
    return gradients;
  });
}

Tensor flip(const Tensor& x, const std::vector<int>& dimensions) {
  Strides strides = x.shape().strides();
  std::int64_t offset = 0;
  if (x.elements() > 0)
    for (const int i : dimensions) {
      const int d = dimension("flip", i, x);
      std::int64_t& stride = strides[static_cast<std::size_t>(d)];
      if (stride < 0) fail("flip: dimension ", d, " twice (x ", x.shape(), ")");
      offset += (x.size(d) - 1) * stride;
      stride = -stride;
    }
  Tensor y = x.empty_like();
  x.backend().strided_copy(x.in(), offset, strides, y.out(), 0, y.shape().strides(), y.shape());
  return record("flip", y, {x}, kKeepNothing,
                [dimensions](const Saved&, const Tensor& g) { return Gradients{flip(g, dimensions)}; });
}

Tensor broadcast(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  if (broadcast_shape("broadcast", x.shape(), shape) != shape)
    fail("broadcast: ", x.shape(), " does not broadcast to ", shape);
  const Shape from = aligned(x.shape(), shape.rank());
  Strides strides = from.strides();
  for (int i = 0; i < shape.rank(); ++i)
    if (from[i] == 1) strides[static_cast<std::size_t>(i)] = 0;
  Tensor y = x.empty_like(shape);
  x.backend().strided_copy(x.in(), 0, strides, y.out(), 0, shape.strides(), shape);
  return record("broadcast", y, {x}, kKeepNothing,
                [to = x.shape()](const Saved&, const Tensor& g) { return Gradients{sum_to(g, to)}; });
}

}  // namespace om
