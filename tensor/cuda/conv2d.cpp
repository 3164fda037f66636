// conv2d and its two gradients: f32 and bf16 by cuDNN; from three channels, 1x1 to a few, and of small images
// in tf32, by kernels of our own; f64 and whatever cuDNN refuses by the direct ones.
//
// Tensor cores want bf16 channels in multiples of 8. Where a count is odd, operands are copied into padded
// scratch memory with zeros behind them, which add nothing, and the result's padding is cut off.
#include <array>

#include "tensor/cuda/check.h"
#include "tensor/cuda/conv_colours.h"
#include "tensor/cuda/conv_direct.h"
#include "tensor/cuda/conv_narrow.h"
#include "tensor/cuda/conv_plans.h"
#include "tensor/cuda/conv_small.h"
#include "tensor/cuda/cuda_backend.h"

namespace om::cuda {
namespace {

constexpr std::int64_t kTensorCoreChannels = 8;

Shape padded(Shape shape, std::initializer_list<int> dimensions) {
  for (const int d : dimensions)
    shape[d] = (shape[d] + kTensorCoreChannels - 1) / kTensorCoreChannels * kTensorCoreChannels;
  return shape;
}

/// The dtype of the operand that is `kind`'s result.
DType dtype_of(const ConvArrays& arrays, ConvKind kind) {
  return arrays.kind == kind ? arrays.result : arrays.dtype;
}

/// One operand in a shape with more channels: a copy of the array if any channel was added, else the array.
class PaddedArray {
 public:
  PaddedArray(CudaBackend& backend, void* data, DType dtype, const Shape& shape, const Shape& wide)
      : backend_(backend),
        array_{data, dtype, shape},
        wide_{data, dtype, wide},
        copied_(!(shape == wide)),
        scratch_(backend, copied_ ? static_cast<std::size_t>(wide.elements()) * size_of(dtype) : 0) {
    if (copied_) wide_.data = scratch_.data();
  }
  void widen() {
    if (!copied_) return;
    backend_.fill(wide_, 0.0);
    backend_.strided_copy(array_, 0, array_.shape.strides(), wide_, 0, wide_.shape.strides(), array_.shape);
  }
  void crop() {
    if (copied_)
      backend_.strided_copy(wide_, 0, wide_.shape.strides(), array_, 0, array_.shape.strides(), array_.shape);
  }
  void* data() const { return wide_.data; }

 private:
  CudaBackend& backend_;
  Out array_, wide_;
  bool copied_;
  Scratch scratch_;
};

bool run_padded(CudaBackend& backend, ConvPlans& plans, const ConvArrays& arrays,
                const Conv2dParams& params) {
  ConvArrays wide = arrays;
  wide.x_shape = padded(arrays.x_shape, {3});
  wide.w_shape = padded(arrays.w_shape, {0, 3});
  wide.y_shape = padded(arrays.y_shape, {3});
  PaddedArray x(backend, arrays.x, dtype_of(arrays, ConvKind::input_grad), arrays.x_shape, wide.x_shape);
  PaddedArray w(backend, arrays.w, dtype_of(arrays, ConvKind::weight_grad), arrays.w_shape, wide.w_shape);
  PaddedArray y(backend, arrays.y, dtype_of(arrays, ConvKind::forward), arrays.y_shape, wide.y_shape);
  PaddedArray* const roles[3] = {&y, &x, &w};  // the result of each kind
  PaddedArray* const result = roles[static_cast<int>(arrays.kind)];
  for (PaddedArray* operand : {&x, &w, &y})
    if (operand != result) operand->widen();
  wide.x = x.data();
  wide.w = w.data();
  wide.y = y.data();
  if (!plans.run(wide, params)) return false;
  result->crop();
  return true;
}

void convolve(CudaBackend& backend, ConvPlans& plans, const ConvArrays& arrays, const Conv2dParams& params) {
  const std::array<Out, 3> all = {Out{arrays.y, dtype_of(arrays, ConvKind::forward), arrays.y_shape},
                                  Out{arrays.x, dtype_of(arrays, ConvKind::input_grad), arrays.x_shape},
                                  Out{arrays.w, dtype_of(arrays, ConvKind::weight_grad), arrays.w_shape}};
  const Out result = all[static_cast<std::size_t>(arrays.kind)];
  if (result.shape.elements() == 0) return;
  for (const Out& array : all) {
    if (array.shape.elements() == 0) return backend.fill(result, 0.0);
    if (reinterpret_cast<std::uintptr_t>(array.data) % 16 != 0)
      fail("cuda: convolutions need arrays at 16-byte alignment");
  }
  if (narrow_convolution(backend, arrays, params) || colour_convolution(backend, arrays, params) ||
      small_convolution(backend, arrays, params))
    return;
  const bool done = arrays.dtype == DType::f64    ? false
                    : arrays.dtype == DType::bf16 ? run_padded(backend, plans, arrays, params)
                                                  : plans.run(arrays, params);
  if (!done) direct_convolution(arrays, params, backend.stream());
}

/// The kernels' operands are const where they are read; ConvArrays names all three alike.
void* pointer(const In& array) { return const_cast<void*>(array.data); }

}  // namespace

void CudaBackend::conv2d(In x, In w, Out y, const Conv2dParams& params) {
  const Ordered order(*this, {x, w}, {y});
  convolve(*this, *plans_,
           {ConvKind::forward, x.dtype, y.dtype, pointer(x), pointer(w), y.data, x.shape, w.shape, y.shape},
           params);
}

void CudaBackend::conv2d_input_grad(In g, In w, Out x, const Conv2dParams& params) {
  const Ordered order(*this, {g, w}, {x});
  convolve(
      *this, *plans_,
      {ConvKind::input_grad, g.dtype, x.dtype, x.data, pointer(w), pointer(g), x.shape, w.shape, g.shape},
      params);
}

void CudaBackend::conv2d_weight_grad(In x, In g, Out w, const Conv2dParams& params) {
  const Ordered order(*this, {x, g}, {w});
  convolve(
      *this, *plans_,
      {ConvKind::weight_grad, g.dtype, w.dtype, pointer(x), w.data, pointer(g), x.shape, w.shape, g.shape},
      params);
}

}  // namespace om::cuda
