// y = f(x; a, b), one kernel an operation (UnaryOp of tensor/backend.h).

#define UNARY(name, expression)                                              \
  kernel void unary_##name(global const T* x, global T* y, long n, R a, R b) { \
    const long i = get_global_id(0);                                         \
    if (i >= n) return;                                                      \
    const R v = LOAD(x, i);                                                  \
    STORE(y, i, expression);                                                 \
  }

UNARY(affine, a * v + b)
UNARY(absolute, fabs(v))
UNARY(sign, v > 0 ? (R)1 : v < 0 ? (R)-1 : (R)0)
UNARY(exponential, exp(v))
UNARY(logarithm, log(v))
UNARY(square_root, sqrt(v))
UNARY(rsqrt, 1 / sqrt(v))
UNARY(reciprocal, 1 / v)
UNARY(power, a == 2 ? v * v : pow(v, a))
UNARY(hyperbolic_tangent, tanh(v))
UNARY(sigmoid, 1 / (1 + exp(-v)))
UNARY(leaky_relu, v > 0 || isnan(v) ? v : a == 0 ? (R)0 : a * v)
UNARY(clamp, isnan(v) ? v : fmin(fmax(v, a), b))
UNARY(floor, floor(v))
