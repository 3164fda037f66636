// Batch normalisation (Ioffe and Szegedy 2015): y = (x - mean) / sqrt(var + eps) * weight + bias per channel,
// with the batch's mean and biased variance in train mode and the running ones in evaluation mode.
#pragma once

#include <optional>

#include "nn/derived.h"
#include "nn/module.h"
#include "tensor/communicator.h"

namespace om {

/// While it lives, norms in train mode on this thread take the statistics of all these ranks' batches.
class SyncedNorms {
 public:
  /// Null: of each rank's batch alone.
  explicit SyncedNorms(Communicator* together);
  ~SyncedNorms();
  SyncedNorms(const SyncedNorms&) = delete;
  SyncedNorms& operator=(const SyncedNorms&) = delete;
  static Communicator* together();

 private:
  Communicator* previous_;
};

/// While it lives, norms in train mode on this thread take a batch into their running statistics by this
/// momentum in place of their own, and do not count it. Batch after batch by 1, 1/2, 1/3, .. leaves the mean
/// of the batches' statistics, where momentum 0.1 leaves a noisy one of the last ten or so ("precise" norms;
/// Wu and Johnson 2021, Rethinking "Batch" in BatchNorm, section 3).
class NormMomentum {
 public:
  explicit NormMomentum(double momentum);
  ~NormMomentum();
  NormMomentum(const NormMomentum&) = delete;
  NormMomentum& operator=(const NormMomentum&) = delete;

 private:
  std::optional<double> previous_;
};

class BatchNorm : public Module {
 public:
  BatchNorm(const Placement& place, std::int64_t channels, double eps = 1e-5, double momentum = 0.1);

  /// What follows the normalisation in the same pass: + residual, then a leaky relu (slope 0: relu, 1: none).
  struct Then {
    double slope = 1;
    Tensor residual = {};
  };

  /// x [N, H, W, C]. In train mode also updates running_mean and running_var (with the unbiased variance):
  /// running = (1 - momentum) running + momentum batch, and counts num_batches_tracked.
  Tensor operator()(const Tensor& x, const Then& then) const;
  Tensor operator()(const Tensor& x) const { return (*this)(x, Then{}); }

  /// Evaluation mode is x scale + shift, [C] each.
  Tensor scale() const;
  Tensor shift() const;
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }

 private:
  double eps_, momentum_;
  Tensor weight_, bias_, running_mean_, running_var_, batches_;
  Derived scale_, shift_;
};

}  // namespace om
