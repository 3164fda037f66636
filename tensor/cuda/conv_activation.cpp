// conv2d_activation: a convolution with what stands behind it as a kernel of ours for small images, or as one
// of cuDNN's graphs where that is faster, else the convolution and the pass behind it, in place.
//
// cuDNN multiplies and adds, but has no gain and no strength. f is positively homogeneous, gain f(u) = f(gain
// u), so both are multiplied into scale, bias and noise by a small kernel before. Coefficients per sample it
// does not have (ConvEpilogue).
#include "tensor/cuda/conv_epilogue.h"
#include "tensor/cuda/conv_plans.h"
#include "tensor/cuda/conv_small.h"

namespace om::cuda {
namespace {

/// Whether every coefficient is the same for all images, in the precision and with the sizes that cuDNN
/// fuses.
bool may_fuse(const In& x, const In& w, const ChannelKernels::Activation& then, const Out& y, Math math) {
  const bool tensor_cores = x.dtype == DType::bf16 || (x.dtype == DType::f32 && math == Math::tf32);
  const std::int64_t multiple = x.dtype == DType::bf16 ? 8 : 4;
  if (!tensor_cores || x.shape[3] % multiple != 0 || y.shape[3] % multiple != 0) return false;
  if (then.gain != 1 && then.residual.data != nullptr) return false;
  for (const In* c : {&then.scale, &then.bias, &then.factor})
    if (c->data != nullptr && c->shape[0] != 1) return false;
  for (const void* data : {x.data, w.data, static_cast<const void*>(y.data), then.scale.data, then.bias.data,
                           then.noise.data, then.residual.data, then.factor.data})
    if (reinterpret_cast<std::uintptr_t>(data) % 16 != 0) return false;
  return x.shape.elements() > 0 && w.shape.elements() > 0 && y.shape.elements() > 0;
}

}  // namespace

void CudaBackend::conv2d_activation(In x, In w, const Activation& then, Out y, const Conv2dParams& params) {
  const Ordered order(
      *this, {x, w, then.scale, then.bias, then.noise, then.strength, then.residual, then.factor}, {y});
  ConvArrays arrays{
      ConvKind::forward, x.dtype, y.dtype, const_cast<void*>(x.data), const_cast<void*>(w.data), y.data,
      x.shape,           w.shape, y.shape};
  if (small_convolution(*this, arrays, params, ArgumentPointers<float>(then))) return;
  const auto apart = [&](void* to) {
    const Out result{to, y.dtype, y.shape};
    conv2d(x, w, result, params);
    Activation behind = then;
    behind.x = result;
    channel_activation(behind, result);
  };
  if (!may_fuse(x, w, then, y, params.math)) return apart(y.data);

  ConvEpilogue epilogue{then.scale, {}, then.bias, then.residual, then.factor, then.slope};
  const bool scaled = then.gain != 1;
  const auto bytes = [](const Shape& shape) {
    return static_cast<std::size_t>(shape.elements()) * sizeof(float);
  };
  const Shape channels{1, 1, 1, y.shape[3]};
  const Scratch scale(*this, scaled ? bytes(channels) : 0),
      bias(*this, scaled && then.bias.data != nullptr ? bytes(channels) : 0),
      noise(*this, then.noise.data != nullptr ? bytes(then.noise.shape) : 0);
  Out scale_to, bias_to, noise_to;
  if (scaled) epilogue.scale = scale_to = {scale.data(), DType::f32, channels};
  if (scaled && then.bias.data != nullptr) epilogue.bias = bias_to = {bias.data(), DType::f32, channels};
  if (then.noise.data != nullptr) epilogue.noise = noise_to = {noise.data(), DType::f32, then.noise.shape};
  prepare_epilogue(then, scale_to, bias_to, noise_to, stream_);

  arrays.epilogue = &epilogue;
  if (!plans_->run(arrays, params, apart)) apart(y.data);
}

}  // namespace om::cuda
