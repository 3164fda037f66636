// y = op(a, b; parameter) with broadcasting, one kernel an operation (BinaryOp of tensor/backend.h), in every
// dtype: i32 wraps, u8 has the comparisons alone. Operands of the walk: a, b; y is dense.

#define OPERANDS                                                                             \
  WALK(walk, column, row)                                                                    \
  const R p = LOAD(a, OFFSET(walk, 0, column, row)), q = LOAD(b, OFFSET(walk, 1, column, row)); \
  const long i = row * walk.inner + column;

#define BINARY(name, expression)                                                                           \
  kernel void binary_##name(global const T* a, global const T* b, global T* y, Walk walk, R parameter) {            \
    OPERANDS                                                                                               \
    STORE(y, i, expression);                                                                               \
  }
#define COMPARISON(name, expression)                                                                       \
  kernel void binary_##name(global const T* a, global const T* b, global uchar* y, Walk walk, R parameter) {        \
    OPERANDS                                                                                               \
    y[i] = (expression) ? 1 : 0;                                                                           \
  }

#if defined(T_i32)
BINARY(add, (uint)p + (uint)q)
BINARY(subtract, (uint)p - (uint)q)
BINARY(multiply, (uint)p * (uint)q)
// Neither division by 0 nor -2^31 / -1 may reach the processor's division, which traps.
BINARY(divide, q == 0 ? 0 : q == -1 ? (int)(0u - (uint)p) : p / q)
BINARY(maximum, max(p, q))
BINARY(minimum, min(p, q))
#elif !defined(T_u8)
BINARY(add, p + q)
BINARY(subtract, p - q)
BINARY(multiply, p * q)
BINARY(divide, p / q)
BINARY(maximum, isnan(p) || p > q ? p : q)
BINARY(minimum, isnan(p) || p < q ? p : q)
BINARY(leaky_relu_grad, p * (q > 0 ? (R)1 : parameter))
#endif

COMPARISON(greater, p > q)
COMPARISON(greater_equal, p >= q)
COMPARISON(equal, p == q)
