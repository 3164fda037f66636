// Several elements at once: what one thread loads and stores in accesses of up to 16 bytes.
#pragma once

#ifdef __CUDACC__
#include <cuda_bf16.h>
#endif

#include <cstdint>

#include "tensor/cuda/number.h"

namespace om::cuda {

/// N elements as one value in memory; N sizeof(T) is a power of two.
template <class T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Packed {
  T element[N];
};

/// Elements of T that 16 bytes hold.
template <class T>
constexpr int kVector = 16 / static_cast<int>(sizeof(T));

#ifdef __CUDACC__

template <int N, class T>
__device__ __forceinline__ Packed<T, N> load_packed(const T* from) {
  return *reinterpret_cast<const Packed<T, N>*>(from);
}

template <class T, int N>
__device__ __forceinline__ void unpack(const Packed<T, N>& packed, arithmetic_t<T> (&values)[N]) {
#pragma unroll
  for (int k = 0; k < N; ++k) values[k] = static_cast<arithmetic_t<T>>(packed.element[k]);
}

/// The N elements from `from` on, which is aligned for them, in the type that they are computed in.
template <int N, class T>
__device__ __forceinline__ void load(const T* from, arithmetic_t<T> (&values)[N]) {
  unpack(load_packed<N>(from), values);
}

/// The elements rounded to T, bf16 two at a time by the instruction for it.
template <class T, int N, class C>
__device__ __forceinline__ Packed<T, N> packed_of(const C (&values)[N]) {
  Packed<T, N> packed;
  if constexpr (std::is_same_v<T, BFloat16> && N % 2 == 0) {
#pragma unroll
    for (int k = 0; k < N; k += 2)
      reinterpret_cast<__nv_bfloat162*>(packed.element)[k / 2] =
          __floats2bfloat162_rn(static_cast<float>(values[k]), static_cast<float>(values[k + 1]));
  } else {
#pragma unroll
    for (int k = 0; k < N; ++k) packed.element[k] = static_cast<T>(values[k]);
  }
  return packed;
}

template <int N, class T>
__device__ __forceinline__ void store(T* to, const arithmetic_t<T> (&values)[N]) {
  *reinterpret_cast<Packed<T, N>*>(to) = packed_of<T>(values);
}

template <class C>
__device__ __forceinline__ C warp_sum(C value) {
#pragma unroll
  for (int half = 16; half > 0; half /= 2) value += __shfl_xor_sync(0xffffffffU, value, half);
  return value;
}

#endif

/// True where each of those addresses (null is fine) is a multiple of `bytes`.
template <class... Pointers>
bool aligned(std::size_t bytes, const Pointers*... pointers) {
  return ((reinterpret_cast<std::uintptr_t>(pointers) % bytes == 0) && ...);
}

}  // namespace om::cuda
