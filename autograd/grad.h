// Reverse-mode differentiation: grad() walks the recorded graph from outputs to inputs and applies the rule
// of each node.
#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace om {

/// Marks x as a leaf whose gradient can be asked for; returns x.
Tensor require_grad(const Tensor& x);

/// While it lives, ops on this thread record nothing.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool previous_;
};

struct GradOptions {
  /// d(something)/d(output) per output; empty: ones, and every output must then have one element.
  std::vector<Tensor> output_gradients = {};
  /// Record the rules too, so that the gradients can be differentiated again. Implies keep_graph.
  bool create_graph = false;
  /// Keep what the nodes hold, for another grad() over the same graph. Otherwise memory is released node
  /// by node.
  bool keep_graph = false;
  /// An input that the outputs do not depend on gets an undefined tensor instead of an error.
  bool allow_unused = false;
};

/// The gradients of the sum of outputs (weighted by output_gradients) with respect to each input, in that
/// input's shape and dtype. Inputs may be leaves or intermediate results. Each node's gradients are summed
/// in a fixed order. To call it from a rule is an error (autograd/node.h says why).
std::vector<Tensor> grad(const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs,
                         const GradOptions& options = {});

}  // namespace om
