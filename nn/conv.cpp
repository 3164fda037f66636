#include "nn/conv.h"

#include "autograd/fused.h"
#include "nn/fixed.h"

namespace om {

Conv::Conv(const Placement& place, const ConvShape& s, bool bias)
    : options_(Conv2d::same(s.stride, s.pad)),
      weight_(parameter("weight", place.zeros({s.out, s.kernel, s.kernel, s.in}), layouts::conv)) {
  if (bias) bias_ = parameter("bias", place.zeros({s.out}));
}

Tensor Conv::operator()(const Tensor& x, double slope, Sums sums) const {
  Conv2d options = options_;
  options.sums = sums;
  const Tensor y = conv2d(x, fixed_operand(weight_), options);
  return bias_.defined() || slope != 1 ? channel_activation(y, {.bias = bias_, .slope = slope}) : y;
}

}  // namespace om
