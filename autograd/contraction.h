// What the ops that run on matrix units share: the dtype and precision that a scope asks for, and a
// convolution's sizes.
#pragma once

#include "autograd/checks.h"

namespace om::detail {

/// Operands of a matrix unit in the dtype that the scope's precision asks for (the common one, bf16 for f32
/// under bf16), without nodes, and the dtype of the result.
struct Operands {
  Operands(const Tensor& first, const Tensor& second, Sums sums) {
    DType dtype = promoted(first.dtype(), second.dtype());
    if (precision() == Precision::bf16 && dtype == DType::f32) dtype = DType::bf16;
    a = cast(first.detach(), dtype);
    b = cast(second.detach(), dtype);
    result = dtype == DType::bf16 && sums == Sums::f32 ? DType::f32 : dtype;
  }
  Tensor room(const Shape& shape) const { return Tensor::empty(shape, result, a.backend()); }
  Tensor a, b;
  DType result;
};

inline Math math_for(const Tensor& x) {
  return precision() == Precision::tf32 && x.dtype() == DType::f32 && x.backend().supports(Math::tf32)
             ? Math::tf32
             : Math::strict;
}

inline Conv2dParams params_for(const Conv2d& options, const Tensor& x) {
  return {options.stride_h, options.stride_w, options.pad_h, options.pad_w, math_for(x)};
}

inline std::int64_t conv_size(const char* op, std::int64_t size, std::int64_t kernel, std::int64_t stride,
                              std::int64_t pad) {
  const std::int64_t padded = checked_sum(op, size, checked_product(op, 2, pad));
  return padded < kernel ? 0 : (padded - kernel) / stride + 1;
}

inline void check_options(const char* op, const Conv2d& o) {
  if (o.stride_h < 1 || o.stride_w < 1 || o.pad_h < 0 || o.pad_w < 0)
    fail(op, ": expects stride >= 1 and padding >= 0, got stride ", o.stride_h, " x ", o.stride_w,
         ", padding ", o.pad_h, " x ", o.pad_w);
}

/// conv2d's operands, checked.
inline void check_conv2d(const char* op, const Tensor& x, const Tensor& w, const Conv2d& options) {
  expect_rank(op, "x", x, 4);
  expect_rank(op, "w", w, 4);
  expect_floating(op, x);
  same_backend(op, x, w);
  check_options(op, options);
  if (x.size(3) != w.size(3))
    fail(op, ": weight expects I = ", x.size(3), ", got ", w.size(3), " (x ", x.shape(), ", w ", w.shape(),
         ")");
}

/// The shape of its result.
inline Shape conv2d_shape(const char* op, const Tensor& x, const Tensor& w, const Conv2d& options) {
  return {x.size(0), conv_size(op, x.size(1), w.size(1), options.stride_h, options.pad_h),
          conv_size(op, x.size(2), w.size(2), options.stride_w, options.pad_w), w.size(0)};
}

}  // namespace om::detail
