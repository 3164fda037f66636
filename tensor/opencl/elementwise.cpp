// fill, cast, unary, binary, where, strided_copy, random: one launch each.
#include <array>
#include <bit>
#include <limits>

#include "tensor/opencl/opencl_backend.h"
#include "tensor/opencl/walk.h"

namespace om::opencl {
namespace {

const char* kernel_of(UnaryOp op) {
  switch (op) {
    case UnaryOp::affine: return "unary_affine";
    case UnaryOp::absolute: return "unary_absolute";
    case UnaryOp::sign: return "unary_sign";
    case UnaryOp::exponential: return "unary_exponential";
    case UnaryOp::logarithm: return "unary_logarithm";
    case UnaryOp::square_root: return "unary_square_root";
    case UnaryOp::rsqrt: return "unary_rsqrt";
    case UnaryOp::reciprocal: return "unary_reciprocal";
    case UnaryOp::power: return "unary_power";
    case UnaryOp::hyperbolic_tangent: return "unary_hyperbolic_tangent";
    case UnaryOp::sigmoid: return "unary_sigmoid";
    case UnaryOp::leaky_relu: return "unary_leaky_relu";
    case UnaryOp::clamp: return "unary_clamp";
    case UnaryOp::floor: return "unary_floor";
  }
  fail("opencl: unknown unary op");
}

const char* kernel_of(BinaryOp op) {
  switch (op) {
    case BinaryOp::add: return "binary_add";
    case BinaryOp::subtract: return "binary_subtract";
    case BinaryOp::multiply: return "binary_multiply";
    case BinaryOp::divide: return "binary_divide";
    case BinaryOp::maximum: return "binary_maximum";
    case BinaryOp::minimum: return "binary_minimum";
    case BinaryOp::leaky_relu_grad: return "binary_leaky_relu_grad";
    case BinaryOp::greater: return "binary_greater";
    case BinaryOp::greater_equal: return "binary_greater_equal";
    case BinaryOp::equal: return "binary_equal";
  }
  fail("opencl: unknown binary op");
}

const char* cast_to(DType dtype) {
  switch (dtype) {
    case DType::f32: return "cast_to_f32";
    case DType::f64: return "cast_to_f64";
    case DType::bf16: return "cast_to_bf16";
    case DType::i32: return "cast_to_i32";
    case DType::u8: return "cast_to_u8";
  }
  fail("opencl: unknown dtype");
}

/// Integers truncate toward zero and saturate; NaN gives 0.
template <class T>
T saturated(double value) {
  constexpr double low = std::numeric_limits<T>::min(), high = std::numeric_limits<T>::max();
  if (value != value) return 0;
  return static_cast<T>(value < low ? low : value > high ? high : value);
}

}  // namespace

void OpenClBackend::fill(Out y, double value) {
  const std::int64_t n = y.shape.elements();
  const auto put = [&](auto bits) {
    device_.run({"move", size_name(y.dtype), "fill"}, device_.line(n), y.data, n, bits);
  };
  switch (y.dtype) {
    case DType::f32: return put(static_cast<float>(value));
    case DType::f64: return put(value);
    case DType::bf16: return put(BFloat16(static_cast<float>(value)).bits);
    case DType::i32: return put(saturated<std::int32_t>(value));
    case DType::u8: return put(saturated<std::uint8_t>(value));
  }
}

void OpenClBackend::strided_copy(In x, std::int64_t x_offset, const Strides& x_strides, Out y,
                                 std::int64_t y_offset, const Strides& y_strides, const Shape& extent) {
  const std::array<Strides, 2> operands{x_strides, y_strides};
  const Walk walk(extent, operands);
  device_.run({"move", size_name(x.dtype), "strided_copy"}, walk.range(device_), x.data, x_offset, y.data,
              y_offset, walk);
}

void OpenClBackend::cast(In x, Out y) {
  const std::int64_t n = y.shape.elements();
  device_.run({"cast", type_name(x.dtype), cast_to(y.dtype)}, device_.line(n), x.data, y.data, n);
}

void OpenClBackend::random(Out y, Distribution distribution, In state) {
  const std::int64_t n = y.shape.elements();
  const char* kernel = distribution == Distribution::bits      ? "bits"
                       : distribution == Distribution::uniform ? "uniform"
                                                               : "normal";
  device_.run({"random", type_name(y.dtype), kernel}, device_.line((n + 3) / 4), y.data, n, state.data);
}

void OpenClBackend::unary(UnaryOp op, In x, Out y, double a, double b) {
  const std::int64_t n = y.shape.elements();
  with_scalar(x.dtype, a, [&](auto first) {
    device_.run({"unary", type_name(x.dtype), kernel_of(op)}, device_.line(n), x.data, y.data, n, first,
                static_cast<decltype(first)>(b));
  });
}

void OpenClBackend::binary(BinaryOp op, In a, In b, Out y, double parameter) {
  const std::array<Strides, 2> operands{broadcast_strides(a.shape), broadcast_strides(b.shape)};
  const Walk walk(y.shape, operands);
  with_scalar(a.dtype, parameter, [&](auto scalar) {
    device_.run({"binary", type_name(a.dtype), kernel_of(op)}, walk.range(device_), a.data, b.data, y.data,
                walk, scalar);
  });
}

void OpenClBackend::where(In condition, In a, In b, Out y) {
  const std::array<Strides, 3> operands{broadcast_strides(a.shape), broadcast_strides(b.shape),
                                        broadcast_strides(condition.shape)};
  const Walk walk(y.shape, operands);
  device_.run({"move", size_name(y.dtype), "where"}, walk.range(device_), condition.data, a.data, b.data,
              y.data, walk);
}

}  // namespace om::opencl
