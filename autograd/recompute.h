// Recomputing: memory for time (Chen et al. 2016, "Training deep nets with sublinear memory cost"). Of a
// function whose result is needed by later ones, the graph keeps what goes in, not what lies in between; its
// rule runs the function again and differentiates that.
//
//   const RecomputeScope scope(true);
//   y = recompute([&](const std::vector<Tensor>& in) { return block(in[0], in[1]); }, {x, w}, parameters);
//
// The second run gives the same bits, so the gradients are the same too. Where something is used by several
// such functions, or by one and then by others, its gradient is a sum that may associate otherwise.
#pragma once

#include <functional>
#include <vector>

#include "tensor/tensor.h"

namespace om {

/// While it lives, recompute() on this thread does what its name says; else it just calls the function.
class RecomputeScope {
 public:
  explicit RecomputeScope(bool on);
  ~RecomputeScope();
  RecomputeScope(const RecomputeScope&) = delete;
  RecomputeScope& operator=(const RecomputeScope&) = delete;

  /// Whether such a scope is on.
  static bool on();

 private:
  bool previous_;
};

/// Whether a function runs for the second time: what it does besides computing its result (running
/// statistics) was done in the first.
bool recomputing();
/// Whether it runs for the first time and will run again. Nothing is recorded then, yet the bits have to be
/// those of ops that record: no kernel may be taken that is for inference alone.
bool to_be_recomputed();

/// function(inputs). Inputs may be undefined. `parameters` are what the function uses besides
/// them and wants a gradient; what else it captures must want none and live until the gradient was taken.
///
/// In the gradient, an Error where create_graph asks for second derivatives, where the function uses a tensor
/// with a graph that is neither input nor parameter, or does not use one of them that wants a gradient.
Tensor recompute(const std::function<Tensor(const std::vector<Tensor>&)>& function,
                 const std::vector<Tensor>& inputs, const std::vector<Tensor>& parameters = {});

}  // namespace om
