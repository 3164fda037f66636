// Conversions between element types, and the type that each one is computed in.
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "tensor/dtype.h"

namespace om::cpu {

/// bf16 is computed in float, everything else in itself.
template <class T>
using Computed = std::conditional_t<std::is_same_v<T, BFloat16>, float, T>;

/// x as a Y: floating types round to nearest (to bf16 by way of float), integers truncate toward zero and
/// saturate, NaN gives 0.
template <class Y, class X>
Y convert(X x) {
  if constexpr (std::is_same_v<X, Y>) {
    return x;
  } else if constexpr (std::is_same_v<Y, BFloat16>) {
    return BFloat16(static_cast<float>(x));
  } else if constexpr (std::is_integral_v<Y>) {
    constexpr double low = std::numeric_limits<Y>::min(), high = std::numeric_limits<Y>::max();
    double value = static_cast<double>(x);
    value = value == value ? value : 0.0;
    value = value < low ? low : value;
    value = value > high ? high : value;
    return static_cast<Y>(static_cast<std::int32_t>(value));
  } else {
    return static_cast<Y>(x);
  }
}

}  // namespace om::cpu
