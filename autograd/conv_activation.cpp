// conv2d_activation: a convolution and what stands behind it, in one kernel where a backend has it and
// nothing is to be differentiated (the derivative wants what lies between the two).
#include "autograd/channel_activation.h"
#include "autograd/contraction.h"
#include "autograd/observer.h"
#include "autograd/recompute.h"

namespace om {
namespace {

using namespace detail;

constexpr const char* kOp = "conv2d_activation";

bool any_wanted(const Tensor& x, const Tensor& w, const ChannelActivation& o) {
  for (const Tensor& t : {x, w, o.scale, o.bias, o.noise, o.strength, o.residual, o.factor})
    if (wanted(t)) return true;
  return false;
}

}  // namespace

Tensor conv2d_activation(const Tensor& x, const Tensor& w, const Conv2d& convolution,
                         const ChannelActivation& then) {
  const auto definition = [&] { return channel_activation(conv2d(x, w, convolution), then); };
  auto* kernels = x.backend().extension<ConvActivationKernels>();
  if (kernels == nullptr || to_be_recomputed() || any_wanted(x, w, then)) return definition();
  check_conv2d(kOp, x, w, convolution);
  const Operands p(x, w, convolution.sums);
  const Tensor y = p.room(conv2d_shape(kOp, p.a, p.b, convolution));
  ChannelActivation o = checked(kOp, y, then);
  if (images_of(y.dtype(), o) != y.dtype()) return definition();  // wider than the convolution's result
  bring_to(y.dtype(), o);
  kernels->conv2d_activation(p.a.in(), p.b.in(), arguments(In{}, o), y.out(), params_for(convolution, p.a));
  op_ran(kOp);
  return y;
}

}  // namespace om
