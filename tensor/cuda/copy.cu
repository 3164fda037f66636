// fill, strided_copy and cast, by vectors of neighbouring elements where sizes, strides and addresses allow
// it.
#include <bit>
#include <cstring>

#include "tensor/cuda/check.h"
#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/index.h"
#include "tensor/cuda/launch.h"
#include "tensor/cuda/number.h"
#include "tensor/cuda/vector.h"

namespace om::cuda {
namespace {

/// One thread a vector of V elements; the rest is the last block's.
template <class T, int V>
__global__ void fill_kernel(T* y, T value, std::int64_t count) {
  const std::int64_t at = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) * V;
  T values[V];
#pragma unroll
  for (int k = 0; k < V; ++k) values[k] = value;
  if (at + V <= count) return store<V>(y + at, values);
  for (std::int64_t i = at; i < count; ++i) y[i] = value;
}

/// V neighbours at a time; x may repeat one element along the innermost dimension.
template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    strided_copy_vectors(const T* x, T* y, IndexMap<2> map, bool dense) {
  const std::int64_t first = first_element();
  T value[kPerThread][V];
  std::int64_t target[kPerThread];
#pragma unroll
  for (int k = 0; k < kPerThread; ++k) {
    if (first + k * kThreads >= map.count()) break;
    const Offsets<2> at = map.at(first + k * kThreads);
    if (dense) {
      load<V>(x + at.of[0], value[k]);
    } else {
      const T element = x[at.of[0]];
#pragma unroll
      for (int i = 0; i < V; ++i) value[k][i] = element;
    }
    target[k] = at.of[1];
  }
#pragma unroll
  for (int k = 0; k < kPerThread; ++k)
    if (first + k * kThreads < map.count()) store<V>(y + target[k], value[k]);
}

template <class T>
__global__ void strided_copy_kernel(const T* x, T* y, IndexMap<2> map) {
  const std::int64_t first = first_element();
  T value[kPerThread];
  std::int64_t target[kPerThread];
#pragma unroll
  for (int k = 0; k < kPerThread; ++k) {
    if (first + k * kThreads >= map.count()) break;
    const Offsets<2> at = map.at(first + k * kThreads);
    value[k] = x[at.of[0]];
    target[k] = at.of[1];
  }
#pragma unroll
  for (int k = 0; k < kPerThread; ++k)
    if (first + k * kThreads < map.count()) y[target[k]] = value[k];
}

/// f64 and i32 convert by way of double, which holds both exactly; the others by way of float.
template <class X>
using Between = std::conditional_t<(sizeof(X) > 2 && !std::is_same_v<X, float>), double, float>;

constexpr int kCast = 8;  // elements a thread converts at once

template <class X, class Y>
__global__ void cast_kernel(const X* x, Y* y, std::int64_t count, bool vectors) {
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kCast;
  if (first >= count) return;
  if (vectors && first + kCast <= count) {
    const Packed<X, kCast> from = *reinterpret_cast<const Packed<X, kCast>*>(x + first);
    Packed<Y, kCast> to;
#pragma unroll
    for (int k = 0; k < kCast; ++k) to.element[k] = converted<Y>(static_cast<Between<X>>(from.element[k]));
    *reinterpret_cast<Packed<Y, kCast>*>(y + first) = to;
    return;
  }
  for (std::int64_t i = first; i < min(first + kCast, count); ++i)
    y[i] = converted<Y>(static_cast<Between<X>>(x[i]));
}

unsigned blocks_of(std::int64_t count, int per_thread) {
  const std::int64_t block = static_cast<std::int64_t>(kThreads) * per_thread;
  return static_cast<unsigned>((count + block - 1) / block);
}

}  // namespace

void CudaBackend::fill(Out y, double value) {
  const Ordered order(*this, {}, {y});
  const std::int64_t count = y.shape.elements();
  if (count == 0) return;
  dispatch(y.dtype, [&]<class T>(Type<T>) {
    const T element = converted<T>(value);
    dispatch_size(sizeof(T), [&]<class Bits>(Type<Bits>) {
      if constexpr (sizeof(Bits) == sizeof(T)) {
        const Bits value = std::bit_cast<Bits>(element);
        if (aligned(16, y.data))
          fill_kernel<Bits, kVector<Bits>>
              <<<blocks_of(count, kVector<Bits>), kThreads, 0, stream_>>>(y.as<Bits>(), value, count);
        else
          fill_kernel<Bits, 1><<<blocks_of(count, 1), kThreads, 0, stream_>>>(y.as<Bits>(), value, count);
      }
    });
  });
  check_launch("fill");
}

void CudaBackend::strided_copy(In x, std::int64_t x_offset, const Strides& x_strides, Out y,
                               std::int64_t y_offset, const Strides& y_strides, const Shape& extent) {
  const Ordered order(*this, {x}, {y});
  const IndexMap<2> map(extent, {x_strides, y_strides});
  if (map.count() == 0) return;
  const std::size_t size = size_of(y.dtype);
  const bool dense =
      map.rank() == 0 || (map.rank() == 1 && map.inner_stride(0) == 1 && map.inner_stride(1) == 1);
  if (dense)
    return copy(y.as<std::byte>() + y_offset * static_cast<std::int64_t>(size),
                x.as<std::byte>() + x_offset * static_cast<std::int64_t>(size),
                static_cast<std::size_t>(map.count()) * size);
  dispatch_size(size, [&]<class T>(Type<T>) {
    const T* const from = x.as<T>() + x_offset;
    T* const to = y.as<T>() + y_offset;
    const auto by_vectors = [&]<int V>(std::integral_constant<int, V>) {
      if (map.inner_stride(1) != 1 || !map.vectors(V) || !aligned(V * sizeof(T), from, to)) return false;
      const IndexMap<2> by_vector = map.by(V);
      strided_copy_vectors<T, V><<<blocks_for(by_vector.count()), kThreads, 0, stream_>>>(
          from, to, by_vector, map.inner_stride(0) != 0);
      return true;
    };
    if (by_vectors(std::integral_constant<int, kVector<T>>{})) return;
    if (by_vectors(std::integral_constant<int, kVector<T> / 2>{})) return;
    strided_copy_kernel<T><<<blocks_for(map.count()), kThreads, 0, stream_>>>(from, to, map);
  });
  check_launch("strided_copy");
}

void CudaBackend::cast(In x, Out y) {
  const Ordered order(*this, {x}, {y});
  const std::int64_t count = y.shape.elements();
  if (count == 0) return;
  dispatch(x.dtype, [&]<class X>(Type<X>) {
    dispatch(y.dtype, [&]<class Y>(Type<Y>) {
      cast_kernel<X, Y><<<blocks_of(count, kCast), kThreads, 0, stream_>>>(x.as<X>(), y.as<Y>(), count,
                                                                           aligned(16, x.data, y.data));
    });
  });
  check_launch("cast");
}

}  // namespace om::cuda
