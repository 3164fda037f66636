// A convolution and the batch norm behind it. In evaluation mode the norm is a scale and a shift per channel
// that stand, and both are one convolution: scale (w * x + b) + shift = (scale w) * x + (scale b + shift).
#pragma once

#include "autograd/ops.h"
#include "nn/batch_norm.h"

namespace om {

class FoldedConv {
 public:
  /// weight [O, kH, kW, I], bias [O] or undefined. The norm must outlive it.
  FoldedConv(Tensor weight, Tensor bias, const Conv2d& options, const BatchNorm& norm)
      : weight_(std::move(weight)), bias_(std::move(bias)), options_(options), norm_(norm) {}

  /// Whether the norm stands: in evaluation mode, where no gradient of a parameter is wanted.
  bool may_fold() const;
  /// Whether it is one convolution: where it may be, and the backend has such convolutions in one kernel with
  /// what follows (tensor/fused.h). Elsewhere a pass follows anyway, and can scale too: a second copy of the
  /// weights would gain nothing.
  bool folds() const;
  /// scale w, as convolutions take weights, and scale b + shift, [O].
  Tensor weight() const;
  Tensor bias() const;
  const Conv2d& options() const { return options_; }

  /// x [N, H, W, I] -> [N, OH, OW, O]; folded or not.
  Tensor operator()(const Tensor& x, const BatchNorm::Then& then) const;

 private:
  Tensor weight_, bias_;
  Conv2d options_;
  const BatchNorm& norm_;
  Derived folded_weight_, folded_bias_;
};

}  // namespace om
