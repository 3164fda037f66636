// Reverse-mode differentiation: grad() walks the recorded graph from outputs to inputs and applies the rule
// of each node.
#pragma once

#include <cstddef>
#include <functional>
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
  /// Called as soon as the gradient of an input is final, while the walk goes on to earlier ones: with the
  /// input's number (the first, where a tensor is named twice) and the gradient, which may be replaced by
  /// another of its shape and dtype. Inputs that get none are left out. It may be written in place where it
  /// is the sole_owner() of its storage; else gradients that are still needed share it. Not with
  /// create_graph, whose gradients are inputs of what is recorded.
  std::function<void(std::size_t input, Tensor& gradient)> when_final = {};
  /// Called before the walk with the inputs that when_final will be told of, each once, in no order.
  std::function<void(const std::vector<std::size_t>& inputs)> when_known = {};
};

/// The gradients of the sum of outputs (weighted by output_gradients) with respect to each input, in that
/// input's shape and dtype. Inputs may be leaves or intermediate results. Each node's gradients are summed
/// in a fixed order. To call it from a rule is an error (autograd/node.h says why).
std::vector<Tensor> grad(const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs,
                         const GradOptions& options = {});

}  // namespace om
