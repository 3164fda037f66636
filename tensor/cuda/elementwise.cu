// unary, binary and where.
//
// Most calls can be walked V neighbouring elements at a time: the result's innermost dimension, after
// merging, is a multiple of V, and each operand either lies dense along it or repeats one element. Then a
// thread loads 16 bytes at once and divides indices once for all of them; that kernel has the operation as a
// constant. What is left (odd sizes, odd addresses, integers of a byte) goes one element at a time, the
// operation an argument.
#include "tensor/cuda/apply.h"
#include "tensor/cuda/check.h"
#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/index.h"
#include "tensor/cuda/launch.h"
#include "tensor/cuda/number.h"
#include "tensor/cuda/vector.h"

namespace om::cuda {
namespace {

constexpr int kVectors = 4;  // a thread's, a block's width apart

unsigned vector_blocks(std::int64_t vectors) {
  return static_cast<unsigned>((vectors + kThreads * kVectors - 1) / (kThreads * kVectors));
}

__device__ std::int64_t first_vector() {
  return static_cast<std::int64_t>(blockIdx.x) * kThreads * kVectors + threadIdx.x;
}

/// V elements of an operand that is dense along the innermost dimension, or V times the one it repeats.
template <int V, class T>
__device__ __forceinline__ void load_or_repeat(const T* from, bool dense, arithmetic_t<T> (&values)[V]) {
  if (dense) return load<V>(from, values);
  const auto value = static_cast<arithmetic_t<T>>(*from);
#pragma unroll
  for (int k = 0; k < V; ++k) values[k] = value;
}

template <UnaryOp op, class T, int V>
__global__ void __launch_bounds__(kThreads)
    unary_vectors(const T* x, T* y, std::int64_t vectors, double a_, double b_) {
  using C = arithmetic_t<T>;
  const C a = static_cast<C>(a_), b = static_cast<C>(b_);
  const std::int64_t first = first_vector();
  C value[kVectors][V];
#pragma unroll
  for (int k = 0; k < kVectors; ++k)
    if (first + k * kThreads < vectors) load<V>(x + (first + k * kThreads) * V, value[k]);
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    if (first + k * kThreads >= vectors) break;
#pragma unroll
    for (int i = 0; i < V; ++i) value[k][i] = apply<C>(op, value[k][i], a, b);
    store<V>(y + (first + k * kThreads) * V, value[k]);
  }
}

template <class T>
__global__ void unary_kernel(UnaryOp op, const T* x, T* y, std::int64_t from, std::int64_t count, double a,
                             double b) {
  using C = arithmetic_t<T>;
  const std::int64_t i = from + static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < count)
    y[i] = static_cast<T>(apply<C>(op, static_cast<C>(x[i]), static_cast<C>(a), static_cast<C>(b)));
}

template <BinaryOp op, class T, int V, bool indexed>
__global__ void __launch_bounds__(kThreads) binary_vectors(const T* a, const T* b, T* y, IndexMap<2> map,
                                                           bool dense_a, bool dense_b, double parameter) {
  using C = arithmetic_t<T>;
  const std::int64_t first = first_vector();
  C left[kVectors][V], right[kVectors][V];
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    const std::int64_t vector = first + k * kThreads;
    if (vector >= map.count()) break;
    Offsets<2> at{};
    if constexpr (indexed)
      at = map.at(vector);
    else
      at = {{dense_a ? vector * V : 0, dense_b ? vector * V : 0}};
    load_or_repeat<V>(a + at.of[0], dense_a, left[k]);
    load_or_repeat<V>(b + at.of[1], dense_b, right[k]);
  }
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    const std::int64_t vector = first + k * kThreads;
    if (vector >= map.count()) break;
#pragma unroll
    for (int i = 0; i < V; ++i) left[k][i] = apply(op, left[k][i], right[k][i], static_cast<C>(parameter));
    store<V>(y + vector * V, left[k]);
  }
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
template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    where_vectors(const std::uint8_t* condition, const T* a, const T* b, T* y, IndexMap<3> map,
                  bool dense_condition, bool dense_a, bool dense_b) {
  const std::int64_t first = first_vector();
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    const std::int64_t vector = first + k * kThreads;
    if (vector >= map.count()) break;
    const Offsets<3> at = map.at(vector);
    std::uint8_t chosen[V];
    T left[V], right[V];
    load_or_repeat<V>(condition + at.of[0], dense_condition, chosen);
    load_or_repeat<V>(a + at.of[1], dense_a, left);
    load_or_repeat<V>(b + at.of[2], dense_b, right);
#pragma unroll
    for (int i = 0; i < V; ++i) left[i] = chosen[i] != 0 ? left[i] : right[i];
    store<V>(y + vector * V, left);
  }
}

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

template <class Body, std::size_t... I>
void dispatch_operation(UnaryOp op, Body&& body, std::index_sequence<I...>) {
  ((static_cast<std::size_t>(op) == I ? body(std::integral_constant<UnaryOp, static_cast<UnaryOp>(I)>{})
                                      : void()),
   ...);
}

template <class Body, std::size_t... I>
void dispatch_operation(BinaryOp op, Body&& body, std::index_sequence<I...>) {
  ((static_cast<std::size_t>(op) == I ? body(std::integral_constant<BinaryOp, static_cast<BinaryOp>(I)>{})
                                      : void()),
   ...);
}

using UnaryOps = std::make_index_sequence<static_cast<std::size_t>(UnaryOp::floor) + 1>;
using ArithmeticOps = std::make_index_sequence<static_cast<std::size_t>(BinaryOp::greater)>;

template <class T>
void launch_binary(BinaryOp op, const In& a, const In& b, const Out& y, const IndexMap<2>& map,
                   double parameter, cudaStream_t stream) {
  constexpr int V = kVector<T>;
  if (!map.vectors(V) || !aligned(16, a.data, b.data, y.data)) {
    binary_kernel<T><<<blocks_for(map.count()), kThreads, 0, stream>>>(op, a.as<T>(), b.as<T>(), y.as<T>(),
                                                                       map, parameter);
    return;
  }
  const IndexMap<2> by_vector = map.by(V);
  const bool dense_a = map.inner_stride(0) != 0, dense_b = map.inner_stride(1) != 0;
  dispatch_operation(
      op,
      [&]<BinaryOp o>(std::integral_constant<BinaryOp, o>) {
        const unsigned blocks = vector_blocks(by_vector.count());
        if (by_vector.rank() > 1)
          binary_vectors<o, T, V, true><<<blocks, kThreads, 0, stream>>>(
              a.as<T>(), b.as<T>(), y.as<T>(), by_vector, dense_a, dense_b, parameter);
        else
          binary_vectors<o, T, V, false><<<blocks, kThreads, 0, stream>>>(
              a.as<T>(), b.as<T>(), y.as<T>(), by_vector, dense_a, dense_b, parameter);
      },
      ArithmeticOps{});
}

}  // namespace

void CudaBackend::unary(UnaryOp op, In x, Out y, double a, double b) {
  const Ordered order(*this, {x}, {y});
  const std::int64_t count = y.shape.elements();
  if (count == 0) return;
  dispatch_floating("cuda unary", y.dtype, [&]<class T>(Type<T>) {
    constexpr int V = kVector<T>;
    const std::int64_t vectors = aligned(16, x.data, y.data) ? count / V : 0;
    if (vectors > 0)
      dispatch_operation(
          op,
          [&]<UnaryOp o>(std::integral_constant<UnaryOp, o>) {
            unary_vectors<o, T, V>
                <<<vector_blocks(vectors), kThreads, 0, stream_>>>(x.as<T>(), y.as<T>(), vectors, a, b);
          },
          UnaryOps{});
    if (vectors * V < count)
      unary_kernel<T>
          <<<static_cast<unsigned>((count - vectors * V + kThreads - 1) / kThreads), kThreads, 0, stream_>>>(
              op, x.as<T>(), y.as<T>(), vectors * V, count, a, b);
  });
  check_launch("unary");
}

void CudaBackend::binary(BinaryOp op, In a, In b, Out y, double parameter) {
  const Ordered order(*this, {a, b}, {y});
  const IndexMap<2> map(y.shape, {broadcast_strides(a.shape, y.shape), broadcast_strides(b.shape, y.shape)});
  if (map.count() == 0) return;
  if (is_comparison(op)) {
    dispatch(a.dtype, [&]<class T>(Type<T>) {
      compare_kernel<T><<<blocks_for(map.count()), kThreads, 0, stream_>>>(op, a.as<T>(), b.as<T>(),
                                                                           y.as<std::uint8_t>(), map);
    });
  } else if (y.dtype == DType::i32) {
    using T = std::int32_t;
    binary_kernel<T><<<blocks_for(map.count()), kThreads, 0, stream_>>>(op, a.as<T>(), b.as<T>(), y.as<T>(),
                                                                        map, parameter);
  } else {
    dispatch_floating("cuda binary", y.dtype,
                      [&]<class T>(Type<T>) { launch_binary<T>(op, a, b, y, map, parameter, stream_); });
  }
  check_launch("binary");
}

void CudaBackend::where(In condition, In a, In b, Out y) {
  const Ordered order(*this, {condition, a, b}, {y});
  const IndexMap<3> map(y.shape, {broadcast_strides(condition.shape, y.shape),
                                  broadcast_strides(a.shape, y.shape), broadcast_strides(b.shape, y.shape)});
  if (map.count() == 0) return;
  dispatch_size(size_of(y.dtype), [&]<class T>(Type<T>) {
    constexpr int V = kVector<T>;
    const auto* const chooser = condition.as<std::uint8_t>();
    if (map.vectors(V) && aligned(16, condition.data, a.data, b.data, y.data)) {
      const IndexMap<3> by_vector = map.by(V);
      where_vectors<T, V><<<vector_blocks(by_vector.count()), kThreads, 0, stream_>>>(
          chooser, a.as<T>(), b.as<T>(), y.as<T>(), by_vector, map.inner_stride(0) != 0,
          map.inner_stride(1) != 0, map.inner_stride(2) != 0);
    } else {
      where_kernel<T>
          <<<blocks_for(map.count()), kThreads, 0, stream_>>>(chooser, a.as<T>(), b.as<T>(), y.as<T>(), map);
    }
  });
  check_launch("where");
}

}  // namespace om::cuda
