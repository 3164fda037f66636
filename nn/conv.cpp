#include "nn/conv.h"

#include "autograd/fused.h"

namespace om {

Conv::Conv(const Placement& place, const ConvShape& s, bool bias)
    : options_(Conv2d::same(s.stride, s.pad)),
      weight_(parameter("weight", place.zeros({s.out, s.kernel, s.kernel, s.in}), layouts::conv)) {
  if (bias) bias_ = parameter("bias", place.zeros({s.out}));
}

Tensor Conv::operator()(const Tensor& x, double slope, Sums sums) const {
  Conv2d options = options_;
  options.sums = sums;
  const Tensor weight = rounded(weight_, rounded_);
  return bias_.defined() || slope != 1
             ? conv2d_activation(x, weight, options, {.bias = bias_, .slope = slope})
             : conv2d(x, weight, options);
}

}  // namespace om
