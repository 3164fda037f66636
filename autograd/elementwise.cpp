// Elementwise ops and their derivatives, one op after another. In the rules s holds what was kept and g is
// the gradient of the output; the chain rule gives g f'(x), summed down where an operand was broadcast.
#include "autograd/checks.h"

namespace om {
namespace {

using namespace detail;

Tensor run_unary(const char* op, UnaryOp kernel, const Tensor& x, double a = 0, double b = 0) {
  expect_floating(op, x);
  Tensor y = x.empty_like();
  x.backend().unary(kernel, x.in(), y.out(), a, b);
  return y;
}

Tensor run_binary(const char* op, BinaryOp kernel, const Tensor& a, const Tensor& b, double parameter = 0) {
  same_backend(op, a, b);
  const Shape shape = broadcast_shape(op, a.shape(), b.shape());
  Tensor y = Tensor::empty(shape, is_comparison(kernel) ? DType::u8 : a.dtype(), a.backend());
  a.backend().binary(kernel, aligned_in(a, shape.rank()), aligned_in(b, shape.rank()), y.out(), parameter);
  if (is_comparison(kernel)) op_ran(op);  // which no derivative is recorded of
  return y;
}

/// A pair of operands in their common dtype.
struct Pair {
  Pair(const Tensor& first, const Tensor& second)
      : a(cast(first, promoted(first.dtype(), second.dtype()))),
        b(cast(second, promoted(first.dtype(), second.dtype()))) {}
  Tensor a, b;
};

}  // namespace

Tensor add(const Tensor& a_, const Tensor& b_) {
  const Pair p(a_, b_);
  return record(
      "add", run_binary("add", BinaryOp::add, p.a, p.b), {p.a, p.b}, kKeepNothing,
      [sa = p.a.shape(), sb = p.b.shape()](const Saved& s, const Tensor& g) {
        return Gradients{s.needs(0) ? sum_to(g, sa) : Tensor(), s.needs(1) ? sum_to(g, sb) : Tensor()};
      });
}

Tensor subtract(const Tensor& a_, const Tensor& b_) {
  const Pair p(a_, b_);
  return record(
      "subtract", run_binary("subtract", BinaryOp::subtract, p.a, p.b), {p.a, p.b}, kKeepNothing,
      [sa = p.a.shape(), sb = p.b.shape()](const Saved& s, const Tensor& g) {
        return Gradients{s.needs(0) ? sum_to(g, sa) : Tensor(), s.needs(1) ? sum_to(-g, sb) : Tensor()};
      });
}

Tensor multiply(const Tensor& a_, const Tensor& b_) {
  const Pair p(a_, b_);
  return record("multiply", run_binary("multiply", BinaryOp::multiply, p.a, p.b), {p.a, p.b},
                keep_input(0, wants(p.b)) | keep_input(1, wants(p.a)),
                [sa = p.a.shape(), sb = p.b.shape()](const Saved& s, const Tensor& g) {
                  return Gradients{s.needs(0) ? sum_to(g * s.input(1), sa) : Tensor(),
                                   s.needs(1) ? sum_to(g * s.input(0), sb) : Tensor()};
                });
}

Tensor divide(const Tensor& a_, const Tensor& b_) {
  const Pair p(a_, b_);
  return record("divide", run_binary("divide", BinaryOp::divide, p.a, p.b), {p.a, p.b},
                keep_input(0, wants(p.b)) | keep_input(1),
                [sa = p.a.shape(), sb = p.b.shape()](const Saved& s, const Tensor& g) {
                  const Tensor ga = g / s.input(1);  // d(a/b)/da = 1/b, d(a/b)/db = -(a/b)/b
                  return Gradients{s.needs(0) ? sum_to(ga, sa) : Tensor(),
                                   s.needs(1) ? sum_to(-(ga * s.input(0) / s.input(1)), sb) : Tensor()};
                });
}

namespace {

/// maximum and minimum: the gradient goes to the operand that was chosen.
Tensor choose(const char* op, BinaryOp kernel, const Pair& p) {
  return record(op, run_binary(op, kernel, p.a, p.b), {p.a, p.b}, keep_input(0) | keep_input(1),
                [kernel, sa = p.a.shape(), sb = p.b.shape()](const Saved& s, const Tensor& g) {
                  const Tensor a = s.input(0), b = s.input(1);
                  const Tensor first =
                      kernel == BinaryOp::maximum ? greater_equal(a, b) : greater_equal(b, a);
                  const Tensor zero = Tensor::zeros({}, g.dtype(), g.backend());
                  return Gradients{s.needs(0) ? sum_to(where(first, g, zero), sa) : Tensor(),
                                   s.needs(1) ? sum_to(where(first, zero, g), sb) : Tensor()};
                });
}

}  // namespace

Tensor maximum(const Tensor& a, const Tensor& b) { return choose("maximum", BinaryOp::maximum, Pair(a, b)); }
Tensor minimum(const Tensor& a, const Tensor& b) { return choose("minimum", BinaryOp::minimum, Pair(a, b)); }

Tensor greater(const Tensor& a, const Tensor& b) {
  const Pair p(a.detach(), b.detach());
  return run_binary("greater", BinaryOp::greater, p.a, p.b);
}

Tensor greater_equal(const Tensor& a, const Tensor& b) {
  const Pair p(a.detach(), b.detach());
  return run_binary("greater_equal", BinaryOp::greater_equal, p.a, p.b);
}

Tensor equal(const Tensor& a, const Tensor& b) {
  const Pair p(a.detach(), b.detach());
  return run_binary("equal", BinaryOp::equal, p.a, p.b);
}

Tensor where(const Tensor& condition, const Tensor& a_, const Tensor& b_) {
  if (condition.dtype() != DType::u8) fail("where: expects a u8 condition, got ", name_of(condition.dtype()));
  const Pair p(a_, b_);
  same_backend("where", p.a, p.b);
  same_backend("where", p.a, condition);
  const Shape shape =
      broadcast_shape("where", condition.shape(), broadcast_shape("where", p.a.shape(), p.b.shape()));
  Tensor y = p.a.empty_like(shape);
  y.backend().where(aligned_in(condition, shape.rank()), aligned_in(p.a, shape.rank()),
                    aligned_in(p.b, shape.rank()), y.out());
  return record("where", y, {p.a, p.b, condition}, keep_input(2),
                [sa = p.a.shape(), sb = p.b.shape()](const Saved& s, const Tensor& g) {
                  const Tensor condition = s.input(2);
                  const Tensor zero = Tensor::zeros({}, g.dtype(), g.backend());
                  return Gradients{s.needs(0) ? sum_to(where(condition, g, zero), sa) : Tensor(),
                                   s.needs(1) ? sum_to(where(condition, zero, g), sb) : Tensor(), Tensor()};
                });
}

Tensor affine(const Tensor& x, double a, double b) {
  return record("affine", run_unary("affine", UnaryOp::affine, x, a, b), {x}, kKeepNothing,
                [a](const Saved&, const Tensor& g) { return Gradients{g * a}; });
}

Tensor abs(const Tensor& x) {
  return record("abs", run_unary("abs", UnaryOp::absolute, x), {x}, keep_input(0),
                [](const Saved& s, const Tensor& g) { return Gradients{g * sign(s.input(0))}; });
}

Tensor exp(const Tensor& x) {
  return record("exp", run_unary("exp", UnaryOp::exponential, x), {x}, kKeepOutput,
                [](const Saved& s, const Tensor& g) { return Gradients{g * s.output()}; });
}

Tensor log(const Tensor& x) {
  return record("log", run_unary("log", UnaryOp::logarithm, x), {x}, keep_input(0),
                [](const Saved& s, const Tensor& g) { return Gradients{g / s.input(0)}; });
}

Tensor sqrt(const Tensor& x) {
  return record("sqrt", run_unary("sqrt", UnaryOp::square_root, x), {x}, kKeepOutput,
                [](const Saved& s, const Tensor& g) { return Gradients{g * 0.5 / s.output()}; });
}

Tensor rsqrt(const Tensor& x) {
  return record("rsqrt", run_unary("rsqrt", UnaryOp::rsqrt, x), {x}, kKeepOutput,
                [](const Saved& s, const Tensor& g) {
                  const Tensor y = s.output();  // d x^(-1/2) = -1/2 x^(-3/2) = -1/2 y^3
                  return Gradients{g * -0.5 * (y * y * y)};
                });
}

Tensor reciprocal(const Tensor& x) {
  return record("reciprocal", run_unary("reciprocal", UnaryOp::reciprocal, x), {x}, kKeepOutput,
                [](const Saved& s, const Tensor& g) { return Gradients{-(g * square(s.output()))}; });
}

Tensor power(const Tensor& x, double exponent) {
  return record("power", run_unary("power", UnaryOp::power, x, exponent), {x}, keep_input(0),
                [exponent](const Saved& s, const Tensor& g) {
                  // 0 x^-1 is no number at 0, where x^0 is as flat as elsewhere.
                  if (exponent == 0) return Gradients{Tensor::zeros(g.shape(), g.dtype(), g.backend())};
                  return Gradients{g * exponent * power(s.input(0), exponent - 1)};
                });
}

Tensor square(const Tensor& x) {
  return record("square", run_binary("square", BinaryOp::multiply, x, x), {x}, keep_input(0),
                [](const Saved& s, const Tensor& g) { return Gradients{g * 2 * s.input(0)}; });
}

Tensor tanh(const Tensor& x) {
  return record(
      "tanh", run_unary("tanh", UnaryOp::hyperbolic_tangent, x), {x}, kKeepOutput,
      [](const Saved& s, const Tensor& g) { return Gradients{g * affine(square(s.output()), -1, 1)}; });
}

Tensor sigmoid(const Tensor& x) {
  return record("sigmoid", run_unary("sigmoid", UnaryOp::sigmoid, x), {x}, kKeepOutput,
                [](const Saved& s, const Tensor& g) {
                  const Tensor y = s.output();
                  return Gradients{g * (y - square(y))};
                });
}

Tensor leaky_relu(const Tensor& x, double slope) {
  // The output has the input's sign, so keeping the output suffices, and that one the next layer keeps
  // anyway.
  if (slope < 0) fail("leaky_relu: expects slope >= 0, got ", slope);
  return record("leaky_relu", run_unary("leaky_relu", UnaryOp::leaky_relu, x, slope), {x}, kKeepOutput,
                [slope](const Saved& s, const Tensor& g) {
                  return Gradients{leaky_relu_grad(g, s.output().detach(), slope)};
                });
}

Tensor relu(const Tensor& x) { return leaky_relu(x, 0); }

Tensor leaky_relu_grad(const Tensor& g_, const Tensor& y_, double slope) {
  const Pair p(g_, y_.detach());
  return record("leaky_relu_grad", run_binary("leaky_relu_grad", BinaryOp::leaky_relu_grad, p.a, p.b, slope),
                {p.a, p.b}, keep_input(1), [slope, shape = p.a.shape()](const Saved& s, const Tensor& g) {
                  return Gradients{sum_to(leaky_relu_grad(g, s.input(1), slope), shape), Tensor()};
                });
}

Tensor clamp(const Tensor& x, double low, double high) {
  if (!(low <= high)) fail("clamp: expects low <= high, got ", low, " and ", high);
  return record("clamp", run_unary("clamp", UnaryOp::clamp, x, low, high), {x}, keep_input(0),
                [low, high](const Saved& s, const Tensor& g) {
                  const Tensor x = s.input(0).detach();
                  const auto constant = [&](double v) { return Tensor::full({}, v, x.dtype(), x.backend()); };
                  const Tensor zero = Tensor::zeros({}, g.dtype(), g.backend());
                  const Tensor above = where(greater_equal(x, constant(low)), g, zero);
                  return Gradients{where(greater_equal(constant(high), x), above, zero)};
                });
}

namespace {

Tensor step_function(const char* op, UnaryOp kernel, const Tensor& x) {
  Tensor y = run_unary(op, kernel, x.detach());
  op_ran(op);
  return y;
}

}  // namespace

Tensor sign(const Tensor& x) { return step_function("sign", UnaryOp::sign, x); }
Tensor floor(const Tensor& x) { return step_function("floor", UnaryOp::floor, x); }

Tensor cast(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  Tensor y = Tensor::empty(x.shape(), dtype, x.backend());
  x.backend().cast(x.in(), y.out());
  if (!is_floating(dtype)) {
    op_ran("cast");
    return y;
  }
  return record("cast", y, {x}, kKeepNothing,
                [from = x.dtype()](const Saved&, const Tensor& g) { return Gradients{cast(g, from)}; });
}

}  // namespace om
