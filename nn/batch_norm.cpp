#include "nn/batch_norm.h"

#include <utility>

#include "autograd/fused.h"
#include "autograd/grad.h"
#include "autograd/ops.h"
#include "autograd/recompute.h"

namespace om {
namespace {

thread_local Communicator* synced_by = nullptr;
thread_local std::optional<double> momentum_here;

}  // namespace

SyncedNorms::SyncedNorms(Communicator* together)
    : previous_(std::exchange(synced_by, together != nullptr && together->size() > 1 ? together : nullptr)) {}
SyncedNorms::~SyncedNorms() { synced_by = previous_; }
Communicator* SyncedNorms::together() { return synced_by; }

NormMomentum::NormMomentum(double momentum) : previous_(std::exchange(momentum_here, momentum)) {}
NormMomentum::~NormMomentum() { momentum_here = previous_; }

BatchNorm::BatchNorm(const Placement& place, std::int64_t channels, double eps, double momentum)
    : eps_(eps),
      momentum_(momentum),
      weight_(parameter("weight", place.full({channels}, 1))),
      bias_(parameter("bias", place.zeros({channels}))),
      running_mean_(buffer("running_mean", place.zeros({channels}))),
      running_var_(buffer("running_var", place.full({channels}, 1))),
      batches_(buffer("num_batches_tracked", Tensor::zeros({}, DType::i32, place.backend))) {}

Tensor BatchNorm::scale() const {
  return scale_({weight_, running_var_}, [&] { return weight_ * rsqrt(running_var_ + eps_); });
}

Tensor BatchNorm::shift() const {
  return shift_({weight_, bias_, running_mean_, running_var_},
                [&] { return bias_ - running_mean_ * scale(); });
}

Tensor BatchNorm::operator()(const Tensor& x, const Then& then) const {
  if (!training())
    return channel_activation(
        x, {.scale = scale(), .bias = shift(), .residual = then.residual, .slope = then.slope});
  const BatchNormResult result =
      batch_norm(x, weight_, bias_,
                 {.eps = eps_, .residual = then.residual, .slope = then.slope, .together = synced_by});
  if (recomputing()) return result.y;  // this batch is counted already
  const NoGrad no_grad;
  const double count = static_cast<double>(x.elements() / x.size(3)) * (synced_by ? synced_by->size() : 1);
  const double momentum = momentum_here.value_or(momentum_);
  const auto blend = [&](const Tensor& running, const Tensor& batch, double factor) {
    running.assign(running * (1 - momentum) + reshape(batch, running.shape()) * (momentum * factor));
  };
  blend(running_mean_, result.mean, 1);
  blend(running_var_, result.variance, count > 1 ? count / (count - 1) : 1);
  if (!momentum_here) batches_.assign(batches_ + Tensor::full({}, 1, DType::i32, batches_.backend()));
  return result.y;
}

}  // namespace om
