// What the elementwise kernels compute, one function an operation.
#pragma once

#include <cstdint>

#include "tensor/backend.h"

namespace om::cuda {

#ifdef __CUDACC__

/// The operation is a constant where the kernel is hot, else an argument, the same for every thread.
template <class C>
__device__ __forceinline__ C apply(UnaryOp op, C x, C a, C b) {
  switch (op) {
    case UnaryOp::affine: return a * x + b;
    case UnaryOp::absolute: return fabs(x);
    case UnaryOp::sign: return static_cast<C>((x > C{0}) - (x < C{0}));
    case UnaryOp::exponential: return exp(x);
    case UnaryOp::logarithm: return log(x);
    case UnaryOp::square_root: return sqrt(x);
    case UnaryOp::rsqrt: return C{1} / sqrt(x);
    case UnaryOp::reciprocal: return C{1} / x;
    case UnaryOp::power: return pow(x, a);
    case UnaryOp::hyperbolic_tangent: return tanh(x);
    case UnaryOp::sigmoid: return C{1} / (C{1} + exp(-x));
    case UnaryOp::leaky_relu: return x > C{0} || x != x ? x : a == C{0} ? C{0} : a * x;
    case UnaryOp::clamp: {
      const C raised = x < a ? a : x;
      return raised > b ? b : raised;
    }
    case UnaryOp::floor: return floor(x);
  }
  return x;
}

template <class C>
__device__ __forceinline__ C apply(BinaryOp op, C a, C b, C parameter) {
  switch (op) {
    case BinaryOp::add: return a + b;
    case BinaryOp::subtract: return a - b;
    case BinaryOp::multiply: return a * b;
    case BinaryOp::divide: return a / b;
    case BinaryOp::maximum: return a > b || a != a ? a : b;
    case BinaryOp::minimum: return a < b || a != a ? a : b;
    case BinaryOp::leaky_relu_grad: return a * (b > C{0} ? C{1} : parameter);
    default: return C{0};
  }
}

/// Integers wrap; division by zero gives 0.
__device__ __forceinline__ std::int32_t apply(BinaryOp op, std::int32_t a, std::int32_t b, std::int32_t) {
  const auto wide_a = static_cast<std::int64_t>(a), wide_b = static_cast<std::int64_t>(b);
  switch (op) {
    case BinaryOp::add: return static_cast<std::int32_t>(wide_a + wide_b);
    case BinaryOp::subtract: return static_cast<std::int32_t>(wide_a - wide_b);
    case BinaryOp::multiply: return static_cast<std::int32_t>(wide_a * wide_b);
    case BinaryOp::divide: return b == 0 ? 0 : static_cast<std::int32_t>(wide_a / wide_b);
    case BinaryOp::maximum: return max(a, b);
    case BinaryOp::minimum: return min(a, b);
    default: return 0;
  }
}

template <class C>
__device__ __forceinline__ bool compare(BinaryOp op, C a, C b) {
  switch (op) {
    case BinaryOp::greater: return a > b;
    case BinaryOp::greater_equal: return a >= b;
    default: return a == b;
  }
}

#endif

}  // namespace om::cuda
