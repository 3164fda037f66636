// The convolution layer. StyleGAN's own stand in nn/equalized.h and nn/modulated_conv.h.
#pragma once

#include "autograd/ops.h"
#include "nn/derived.h"
#include "nn/module.h"

namespace om {

struct ConvShape {
  std::int64_t in = 1, out = 1, kernel = 3, stride = 1, pad = 0;
};

/// weight [O, kH, kW, I] (in files [O, I, kH, kW]), bias [O] where `bias`.
class Conv : public Module {
 public:
  Conv(const Placement& place, const ConvShape& shape, bool bias);
  /// x [N, H, W, I] -> [N, OH, OW, O], then a leaky relu of that slope (0: relu, 1: none). With Sums::f32
  /// the result is float32 in bf16 too.
  Tensor operator()(const Tensor& x, double slope = 1, Sums sums = Sums::rounded) const;

  const Tensor& weight() const { return weight_; }
  /// Undefined where there is none.
  const Tensor& bias() const { return bias_; }
  const Conv2d& options() const { return options_; }

 private:
  Conv2d options_;
  Tensor weight_, bias_;
  Derived rounded_;
};

}  // namespace om
