#include "nn/linear.h"

#include <cmath>
#include <numbers>

#include "autograd/ops.h"

namespace om {

Linear::Linear(const Placement& place, std::int64_t in, std::int64_t out)
    : weight_(parameter("weight", place.zeros({out, in}))), bias_(parameter("bias", place.zeros({out}))) {}

Tensor Linear::operator()(const Tensor& x) const {
  const PrecisionScope scope(coefficient_precision());
  return matmul(x, weight_, false, true) + bias_;
}

EqualLinear::EqualLinear(const Placement& place, std::int64_t in, std::int64_t out, double lr_mul,
                         bool activate)
    : scale_(lr_mul / std::sqrt(static_cast<double>(in))),
      lr_mul_(lr_mul),
      activate_(activate),
      weight_(parameter("weight", place.zeros({out, in}))),
      bias_(parameter("bias", place.zeros({out}))) {}

Tensor EqualLinear::operator()(const Tensor& x) const {
  const PrecisionScope scope(coefficient_precision());
  const Tensor weight = scaled_weight_({weight_}, [&] { return weight_ * scale_; });
  const Tensor bias = lr_mul_ == 1 ? bias_ : scaled_bias_({bias_}, [&] { return bias_ * lr_mul_; });
  const Tensor y = matmul(x, weight, false, true) + bias;
  return activate_ ? leaky_relu(y, 0.2) * std::numbers::sqrt2 : y;
}

Tensor pixel_norm(const Tensor& x) { return x * rsqrt(mean(square(x), {-1}) + 1e-8); }

}  // namespace om
