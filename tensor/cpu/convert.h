// Conversions between element types, and the type that each one is computed in.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "tensor/dtype.h"

namespace om::cpu {

/// bf16 is computed in float, everything else in itself.
template <class T>
using Computed = std::conditional_t<std::is_same_v<T, BFloat16>, float, T>;

/// An element as the number it is computed in, and back. Members of BFloat16 are touched directly because
/// loops over whole structs do not vectorise.
template <class T>
Computed<T> load(const T& x) {
  if constexpr (std::is_same_v<T, BFloat16>)
    return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16);
  else
    return x;
}
template <class T>
void store(T& y, Computed<T> value) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    const auto word = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t rounded = (word + 0x7fffU + ((word >> 16) & 1U)) >> 16, quiet = (word >> 16) | 0x40U;
    y.bits = static_cast<std::uint16_t>(value != value ? quiet : rounded);
  } else {
    y = value;
  }
}

/// y = x: floating types round to nearest (to bf16 by way of float), integers truncate toward zero and
/// saturate, NaN gives 0.
template <class Y, class X>
void convert(const X& x, Y& y) {
  if constexpr (std::is_same_v<X, Y>) {
    y = x;
  } else if constexpr (std::is_integral_v<Y>) {
    constexpr double low = std::numeric_limits<Y>::min(), high = std::numeric_limits<Y>::max();
    const auto value = static_cast<double>(load(x));
    double bounded = value > low ? value : low;
    bounded = bounded < high ? bounded : high;
    bounded = value != value ? 0.0 : bounded;
    y = static_cast<Y>(static_cast<std::int32_t>(bounded));
  } else {
    store(y, static_cast<Computed<Y>>(load(x)));
  }
}

}  // namespace om::cpu
