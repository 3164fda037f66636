#include "nn/folded_conv.h"

#include "autograd/fused.h"
#include "autograd/record.h"
#include "tensor/fused.h"

namespace om {

bool FoldedConv::may_fold() const {
  if (norm_.training()) return false;
  for (const Tensor& parameter : {weight_, bias_, norm_.weight(), norm_.bias()})
    if (parameter.defined() && wants(parameter)) return false;
  return true;
}

bool FoldedConv::folds() const {
  return may_fold() && weight_.backend().extension<ConvActivationKernels>() != nullptr;
}

Tensor FoldedConv::weight() const {
  const Tensor scale = norm_.scale();
  return folded_weight_({weight_, scale}, [&] {
    return as_operand(weight_ * reshape(scale, {scale.size(0), 1, 1, 1}));
  });
}

Tensor FoldedConv::bias() const {
  if (!bias_.defined()) return norm_.shift();
  const Tensor scale = norm_.scale(), shift = norm_.shift();
  return folded_bias_({bias_, scale, shift}, [&] { return bias_ * scale + shift; });
}

Tensor FoldedConv::operator()(const Tensor& x, const BatchNorm::Then& then) const {
  if (folds())
    return conv2d_activation(x, weight(), options_,
                             {.bias = bias(), .residual = then.residual, .slope = then.slope});
  const Tensor y = conv2d(x, weight_, options_);
  return norm_(bias_.defined() ? channel_activation(y, {.bias = bias_}) : y, then);
}

}  // namespace om
