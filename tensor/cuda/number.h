// How kernels read and write each dtype: bf16 is computed in float and rounded once, every other type in
// itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "tensor/dtype.h"

namespace om::cuda {

template <class T>
struct Arithmetic {
  using type = T;
};
template <>
struct Arithmetic<BFloat16> {
  using type = float;
};
template <class T>
using arithmetic_t = typename Arithmetic<T>::type;

/// A floating value as T: to an integer it truncates toward zero and saturates, NaN gives 0.
template <class T, class C>
__host__ __device__ T converted(C value) {
  if constexpr (std::is_integral_v<T>) {
    constexpr double low = sizeof(T) == 1 ? 0.0 : -2147483648.0;
    constexpr double high = sizeof(T) == 1 ? 255.0 : 2147483647.0;
    if (value != value) return T{0};
    if (value <= static_cast<C>(low)) return static_cast<T>(low);
    if (value >= static_cast<C>(high)) return static_cast<T>(high);
    return static_cast<T>(value);
  } else {
    return static_cast<T>(value);
  }
}

/// Calls body with an unsigned type of that many bytes, for kernels that only move elements.
template <class Body>
void dispatch_size(std::size_t bytes, Body&& body) {
  switch (bytes) {
    case 1: return body(Type<std::uint8_t>{});
    case 2: return body(Type<std::uint16_t>{});
    case 4: return body(Type<std::uint32_t>{});
    default: return body(Type<std::uint64_t>{});
  }
}

}  // namespace om::cuda
