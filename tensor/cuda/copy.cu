// fill, strided_copy and cast.
#include <bit>
#include <cstring>

#include "tensor/cuda/check.h"
#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/index.h"
#include "tensor/cuda/launch.h"
#include "tensor/cuda/number.h"

namespace om::cuda {
namespace {

template <class T>
__global__ void fill_kernel(T* y, T value, std::int64_t count) {
  const std::int64_t first = first_element();
#pragma unroll
  for (int k = 0; k < kPerThread; ++k)
    if (first + k * kThreads < count) y[first + k * kThreads] = value;
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

template <class X, class Y>
__device__ void cast_elements(const X* x, Y* y, std::int64_t count) {
  const std::int64_t first = first_element();
  X value[kPerThread];
#pragma unroll
  for (int k = 0; k < kPerThread; ++k)
    if (first + k * kThreads < count) value[k] = x[first + k * kThreads];
#pragma unroll
  for (int k = 0; k < kPerThread; ++k)
    if (first + k * kThreads < count)
      y[first + k * kThreads] = converted<Y>(static_cast<Between<X>>(value[k]));
}

template <class X>
__global__ void cast_kernel(const X* x, void* y, DType to, std::int64_t count) {
  switch (to) {
    case DType::f32: return cast_elements(x, static_cast<float*>(y), count);
    case DType::f64: return cast_elements(x, static_cast<double*>(y), count);
    case DType::bf16: return cast_elements(x, static_cast<BFloat16*>(y), count);
    case DType::i32: return cast_elements(x, static_cast<std::int32_t*>(y), count);
    case DType::u8: return cast_elements(x, static_cast<std::uint8_t*>(y), count);
  }
}

}  // namespace

void CudaBackend::fill(Out y, double value) {
  const std::int64_t count = y.shape.elements();
  if (count == 0) return;
  dispatch(y.dtype, [&]<class T>(Type<T>) {
    const T element = converted<T>(value);
    dispatch_size(sizeof(T), [&]<class Bits>(Type<Bits>) {
      if constexpr (sizeof(Bits) == sizeof(T))
        fill_kernel<Bits>
            <<<blocks_for(count), kThreads, 0, stream_>>>(y.as<Bits>(), std::bit_cast<Bits>(element), count);
    });
  });
  check_launch("fill");
}

void CudaBackend::strided_copy(In x, std::int64_t x_offset, const Strides& x_strides, Out y,
                               std::int64_t y_offset, const Strides& y_strides, const Shape& extent) {
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
    strided_copy_kernel<T>
        <<<blocks_for(map.count()), kThreads, 0, stream_>>>(x.as<T>() + x_offset, y.as<T>() + y_offset, map);
  });
  check_launch("strided_copy");
}

void CudaBackend::cast(In x, Out y) {
  const std::int64_t count = y.shape.elements();
  if (count == 0) return;
  dispatch(x.dtype, [&]<class X>(Type<X>) {
    cast_kernel<X><<<blocks_for(count), kThreads, 0, stream_>>>(x.as<X>(), y.data, y.dtype, count);
  });
  check_launch("cast");
}

}  // namespace om::cuda
