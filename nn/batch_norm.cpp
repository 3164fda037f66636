#include "nn/batch_norm.h"

#include "autograd/grad.h"
#include "autograd/ops.h"

namespace om {

BatchNorm::BatchNorm(const Placement& place, std::int64_t channels, double eps, double momentum)
    : eps_(eps),
      momentum_(momentum),
      weight_(parameter("weight", place.full({channels}, 1))),
      bias_(parameter("bias", place.zeros({channels}))),
      running_mean_(buffer("running_mean", place.zeros({channels}))),
      running_var_(buffer("running_var", place.full({channels}, 1))),
      batches_(buffer("num_batches_tracked", Tensor::zeros({}, DType::i32, place.backend))) {}

Tensor BatchNorm::operator()(const Tensor& x) const {
  if (!training()) {
    const Tensor scale = weight_ * rsqrt(running_var_ + eps_);
    return x * scale + (bias_ - running_mean_ * scale);
  }
  const Tensor mean_of = mean(x, {0, 1, 2});
  const Tensor centred = x - mean_of;
  const Tensor variance = mean(square(centred), {0, 1, 2});
  {
    const NoGrad no_grad;
    const double count = static_cast<double>(x.elements() / x.size(3));
    const auto blend = [&](const Tensor& running, const Tensor& batch, double factor) {
      running.assign(running * (1 - momentum_) + reshape(batch, running.shape()) * (momentum_ * factor));
    };
    blend(running_mean_, mean_of.detach(), 1);
    blend(running_var_, variance.detach(), count > 1 ? count / (count - 1) : 1);
    batches_.assign(batches_ + Tensor::full({}, 1, DType::i32, batches_.backend()));
  }
  return centred * (weight_ * rsqrt(variance + eps_)) + bias_;
}

}  // namespace om
