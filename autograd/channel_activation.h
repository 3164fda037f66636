// The operands of channel_activation, checked and as kernels take them: for the op itself and for the
// convolution that ends in one.
#pragma once

#include "autograd/fuse.h"
#include "autograd/fused.h"
#include "tensor/fused.h"

namespace om::detail {

/// [C] as [1, 1, 1, C]; other shapes and undefined tensors as they are.
inline Tensor as_coefficients(const char* op, const Tensor& t, const Tensor& x) {
  if (!t.defined()) return t;
  same_backend(op, x, t);
  const Tensor c = t.rank() == 1 ? reshape(t, {1, 1, 1, t.size(0)}) : t;
  const std::int64_t images = c.rank() == 4 ? c.size(0) : 0;
  if (c.rank() != 4 || (images != 1 && images != x.size(0)) || c.size(1) != 1 || c.size(2) != 1 ||
      c.size(3) != x.size(3))
    fail(op, ": expects coefficients [1 or ", x.size(0), ", 1, 1, ", x.size(3), "], got ", t.shape(), " (x ",
         x.shape(), ")");
  return c;
}

/// The operands checked and in their shapes.
inline ChannelActivation checked(const char* op, const Tensor& x, ChannelActivation o) {
  expect_rank(op, "x", x, 4);
  expect_floating(op, x);
  if (!(o.slope >= 0 && o.slope <= 1) || !(o.gain > 0))
    fail(op, ": expects slope in [0, 1] and gain > 0, got ", o.slope, " and ", o.gain);
  o.scale = as_coefficients(op, o.scale, x);
  o.bias = as_coefficients(op, o.bias, x);
  o.factor = as_coefficients(op, o.factor, x);
  if (o.noise.defined()) {
    if (!o.strength.defined() || o.strength.elements() != 1)
      fail(op, ": noise expects a strength of one element");
    o.strength = reshape(o.strength, {1});
    same_backend(op, x, o.noise);
    same_backend(op, x, o.strength);
    const Shape map{o.noise.rank() == 4 && o.noise.size(0) == 1 ? 1 : x.size(0), x.size(1), x.size(2), 1};
    if (o.noise.shape() != map)
      fail(op, ": expects noise ", map, ", got ", o.noise.shape(), " (x ", x.shape(), ")");
  } else {
    o.strength = {};
  }
  if (o.residual.defined()) {
    same_backend(op, x, o.residual);
    if (o.residual.shape() != x.shape())
      fail(op, ": expects a residual ", x.shape(), ", got ", o.residual.shape());
  }
  return o;
}

/// The dtype of the images.
inline DType images_of(DType x, const ChannelActivation& o) {
  return image_dtype(o.residual.defined() ? promoted(x, o.residual.dtype()) : x,
                     {o.scale, o.bias, o.noise, o.strength, o.factor});
}

/// The other operands in the dtypes that they have beside images of this one.
inline void bring_to(DType images, ChannelActivation& o) {
  o.residual = cast_if_defined(o.residual, images);
  for (Tensor* t : {&o.scale, &o.bias, &o.noise, &o.strength, &o.factor})
    *t = cast_if_defined(*t, computed(images));
}

/// For the kernel.
inline ChannelKernels::Activation arguments(In x, const ChannelActivation& o) {
  return {x,
          in_or_none(o.scale),
          in_or_none(o.bias),
          in_or_none(o.noise),
          in_or_none(o.strength),
          in_or_none(o.residual),
          in_or_none(o.factor),
          o.slope,
          o.gain};
}

}  // namespace om::detail
