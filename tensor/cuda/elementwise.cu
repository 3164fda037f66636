// unary, binary and where. One kernel per dtype: the operation is a run-time argument, the same for every
// thread, so the switch costs little beside the memory it waits for, and the compiler builds few kernels.
#include "tensor/cuda/check.h"
#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/index.h"
#include "tensor/cuda/launch.h"
#include "tensor/cuda/number.h"

namespace om::cuda {
namespace {

template <class C>
__device__ C apply(UnaryOp op, C x, C a, C b) {
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
    case UnaryOp::leaky_relu: return x > C{0} ? x : a * x;
    case UnaryOp::clamp: {
      const C raised = x < a ? a : x;
      return raised > b ? b : raised;
    }
    case UnaryOp::floor: return floor(x);
  }
  return x;
}

template <class C>
__device__ C apply(BinaryOp op, C a, C b, C parameter) {
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
__device__ inline std::int32_t apply(BinaryOp op, std::int32_t a, std::int32_t b, std::int32_t) {
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
__device__ bool compare(BinaryOp op, C a, C b) {
  switch (op) {
    case BinaryOp::greater: return a > b;
    case BinaryOp::greater_equal: return a >= b;
    default: return a == b;
  }
}

template <class T>
__global__ void unary_kernel(UnaryOp op, const T* x, T* y, std::int64_t count, double a, double b) {
  using C = arithmetic_t<T>;
  const std::int64_t first = first_element();
  C value[kPerThread];
#pragma unroll
  for (int k = 0; k < kPerThread; ++k)
    if (first + k * kThreads < count) value[k] = static_cast<C>(x[first + k * kThreads]);
#pragma unroll
  for (int k = 0; k < kPerThread; ++k)
    if (first + k * kThreads < count)
      y[first + k * kThreads] = static_cast<T>(apply<C>(op, value[k], static_cast<C>(a), static_cast<C>(b)));
}

template <class T>
__global__ void binary_kernel(BinaryOp op, const T* a, const T* b, T* y, IndexMap<2> map, double parameter) {
  using C = arithmetic_t<T>;
  const std::int64_t first = first_element();
  C left[kPerThread], right[kPerThread];
#pragma unroll
  for (int k = 0; k < kPerThread; ++k) {
    if (first + k * kThreads >= map.count()) break;
    const Offsets<2> at = map.at(first + k * kThreads);
    left[k] = static_cast<C>(a[at.of[0]]);
    right[k] = static_cast<C>(b[at.of[1]]);
  }
#pragma unroll
  for (int k = 0; k < kPerThread; ++k)
    if (first + k * kThreads < map.count())
      y[first + k * kThreads] = static_cast<T>(apply(op, left[k], right[k], static_cast<C>(parameter)));
}

template <class T>
__global__ void compare_kernel(BinaryOp op, const T* a, const T* b, std::uint8_t* y, IndexMap<2> map) {
  using C = arithmetic_t<T>;
  const std::int64_t first = first_element();
#pragma unroll
  for (int k = 0; k < kPerThread; ++k) {
    const std::int64_t i = first + k * kThreads;
    if (i >= map.count()) break;
    const Offsets<2> at = map.at(i);
    y[i] = compare<C>(op, static_cast<C>(a[at.of[0]]), static_cast<C>(b[at.of[1]])) ? 1 : 0;
  }
}

/// T is any type of the elements' size.
template <class T>
__global__ void where_kernel(const std::uint8_t* condition, const T* a, const T* b, T* y, IndexMap<3> map) {
  const std::int64_t first = first_element();
#pragma unroll
  for (int k = 0; k < kPerThread; ++k) {
    const std::int64_t i = first + k * kThreads;
    if (i >= map.count()) break;
    const Offsets<3> at = map.at(i);
    y[i] = condition[at.of[0]] ? a[at.of[1]] : b[at.of[2]];
  }
}

}  // namespace

void CudaBackend::unary(UnaryOp op, In x, Out y, double a, double b) {
  const std::int64_t count = y.shape.elements();
  if (count == 0) return;
  dispatch_floating("cuda unary", y.dtype, [&]<class T>(Type<T>) {
    unary_kernel<T><<<blocks_for(count), kThreads, 0, stream_>>>(op, x.as<T>(), y.as<T>(), count, a, b);
  });
  check_launch("unary");
}

void CudaBackend::binary(BinaryOp op, In a, In b, Out y, double parameter) {
  const IndexMap<2> map(y.shape, {broadcast_strides(a.shape, y.shape), broadcast_strides(b.shape, y.shape)});
  if (map.count() == 0) return;
  const unsigned blocks = blocks_for(map.count());
  if (is_comparison(op)) {
    dispatch(a.dtype, [&]<class T>(Type<T>) {
      compare_kernel<T>
          <<<blocks, kThreads, 0, stream_>>>(op, a.as<T>(), b.as<T>(), y.as<std::uint8_t>(), map);
    });
  } else if (y.dtype == DType::i32) {
    using T = std::int32_t;
    binary_kernel<T><<<blocks, kThreads, 0, stream_>>>(op, a.as<T>(), b.as<T>(), y.as<T>(), map, parameter);
  } else {
    dispatch_floating("cuda binary", y.dtype, [&]<class T>(Type<T>) {
      binary_kernel<T><<<blocks, kThreads, 0, stream_>>>(op, a.as<T>(), b.as<T>(), y.as<T>(), map, parameter);
    });
  }
  check_launch("binary");
}

void CudaBackend::where(In condition, In a, In b, Out y) {
  const IndexMap<3> map(y.shape, {broadcast_strides(condition.shape, y.shape),
                                  broadcast_strides(a.shape, y.shape), broadcast_strides(b.shape, y.shape)});
  if (map.count() == 0) return;
  dispatch_size(size_of(y.dtype), [&]<class T>(Type<T>) {
    where_kernel<T><<<blocks_for(map.count()), kThreads, 0, stream_>>>(condition.as<std::uint8_t>(),
                                                                       a.as<T>(), b.as<T>(), y.as<T>(), map);
  });
  check_launch("where");
}

}  // namespace om::cuda
