// Adam (Kingma and Ba 2015) with parameter groups, in torch.optim.Adam's arithmetic:
//
//   g  = gradient * min(1, clip / (norm + 1e-6)) + decay * p        norm: of the group's gradients together
//   m  = b1 m + (1 - b1) g                  v = b2 v + (1 - b2) g^2
//   p -= rate / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
//
// A parameter without a gradient is left alone: no decay, no moments, and its t stands still. Whatever
// changes from step to step (rates, t) is a tensor on the backend, so that a captured step can be replayed.
// The update runs in place: by the backend's own kernels for many arrays at once (AdamKernels), or composed
// of single ones, which define it; then on host memory in blocks that fit the cache.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nn/module.h"
#include "tensor/fused.h"

namespace om {

struct ParameterGroup {
  std::string name;
  std::vector<Entry> parameters;
  double lr = 1e-4;
};

struct AdamOptions {
  double beta1 = 0.5;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 1e-4;  ///< added to the gradient after clipping
  double clip_norm = 1;        ///< largest norm of a group's gradients; 0: no clipping
};

class Adam {
 public:
  /// Parameters are f32 or f64 tensors, all on one backend. UsageError where there is none.
  Adam(std::vector<ParameterGroup> groups, const AdamOptions& options);

  const std::vector<ParameterGroup>& groups() const { return groups_; }
  /// The parameters of all groups in their order: what step() expects gradients for.
  const std::vector<Tensor>& parameters() const { return parameters_; }
  const Entry& entry(std::size_t parameter) const;

  /// The rate from the next step on.
  void set_lr(std::size_t group, double lr);

  /// One step, in place. gradients[i] belongs to parameters()[i] and has its shape and dtype, or is
  /// undefined. Returns each group's gradient norm before clipping ([], on the backend).
  std::vector<Tensor> step(const std::vector<Tensor>& gradients);

  /// What a checkpoint keeps of a parameter. The moments are undefined while steps is 0.
  struct State {
    Tensor first, second;
    std::int64_t steps = 0;
  };
  /// In the order of parameters(); the moments are the optimiser's own tensors. Waits for the backend.
  std::vector<State> state() const;
  /// Goes on from a stored state; the moments are copied. Error where counts or shapes do not fit.
  void set_state(const std::vector<State>& state);

 private:
  /// Parameters that have taken the same number of steps share one counter on the backend.
  struct Clock {
    Tensor steps;  // f64 []
    std::vector<std::size_t> members;
  };
  struct Factors;

  Tensor group_norm(std::size_t group, const std::vector<Tensor>& gradients) const;
  std::vector<std::size_t> advance_clocks(const std::vector<Tensor>& gradients);
  void make_moments(std::size_t parameter);
  void update_composed(const std::vector<Tensor>& gradients, const std::vector<Tensor>& norms,
                       const std::vector<std::size_t>& clock_of);
  void update(std::size_t parameter, const Tensor& gradient, const Factors& factors);
  void update_fused(AdamKernels& kernels, const std::vector<Tensor>& gradients,
                    const std::vector<Tensor>& norms, const std::vector<std::size_t>& clock_of);

  std::vector<ParameterGroup> groups_;
  AdamOptions options_;
  std::vector<Tensor> parameters_;
  std::vector<std::size_t> group_of_;
  std::vector<std::size_t> first_of_group_;
  std::vector<Tensor> rates_;  // f64 [], one per group
  std::vector<Tensor> first_, second_;
  std::vector<Clock> clocks_;
};

}  // namespace om
