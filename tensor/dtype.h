// Element types. float16 and int64 exist only in files (io/file_tensor.h); here live the types kernels
// compute on.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tensor/error.h"

namespace om {

enum class DType : std::uint8_t { f32, f64, bf16, i32, u8 };

/// Brain floating point: the upper 16 bits of a float. Conversion rounds to nearest, ties to even; NaN stays
/// NaN.
struct BFloat16 {
  std::uint16_t bits = 0;

  BFloat16() = default;
  constexpr explicit BFloat16(float value) : bits(round(std::bit_cast<std::uint32_t>(value))) {}
  constexpr operator float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

 private:
  static constexpr std::uint16_t round(std::uint32_t word) {
    if ((word & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>((word >> 16) | 0x40U);
    return static_cast<std::uint16_t>((word + 0x7fffU + ((word >> 16) & 1U)) >> 16);
  }
};

constexpr std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f64: return 8;
    case DType::f32:
    case DType::i32: return 4;
    case DType::bf16: return 2;
    case DType::u8: return 1;
  }
  return 0;
}

constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return "f32";
    case DType::f64: return "f64";
    case DType::bf16: return "bf16";
    case DType::i32: return "i32";
    case DType::u8: return "u8";
  }
  return "?";
}

constexpr bool is_floating(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f64 || dtype == DType::bf16;
}

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<BFloat16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<std::int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<std::uint8_t> {
  static constexpr DType value = DType::u8;
};
template <class T>
constexpr DType dtype_of = DTypeOf<T>::value;

/// Carries a type into a generic lambda: dispatch(dtype, [&]<class T>(Type<T>) { ... }).
template <class T>
struct Type {};

/// Calls body with the C++ type of dtype. Kernels that take every dtype use it.
template <class Body>
decltype(auto) dispatch(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f32: return body(Type<float>{});
    case DType::f64: return body(Type<double>{});
    case DType::bf16: return body(Type<BFloat16>{});
    case DType::i32: return body(Type<std::int32_t>{});
    case DType::u8: return body(Type<std::uint8_t>{});
  }
  fail("unknown dtype");
}

/// Calls body with the C++ type of a floating dtype; Error naming `kernel` otherwise.
template <class Body>
decltype(auto) dispatch_floating(const char* kernel, DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f32: return body(Type<float>{});
    case DType::f64: return body(Type<double>{});
    case DType::bf16: return body(Type<BFloat16>{});
    default: fail(kernel, ": expects a floating dtype, got ", name_of(dtype));
  }
}

}  // namespace om
