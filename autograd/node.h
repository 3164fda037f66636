// The derivative graph: one node per recorded op, pointing to the nodes of its inputs.
//
// A leaf (a parameter, or any tensor passed to require_grad) is a node without a rule. Every node has exactly
// one output, so a tensor's identity in the graph is its node. Creation order is a topological order of the
// graph.
//
// A rule turns the gradient g of some scalar with respect to the op's output into the gradients with respect
// to its inputs. While rules are recorded they consist of ops, which yields the graph of the second
// derivative. No rule calls grad(): what it would find there are total derivatives, through everything that
// an input depends on. (The one of recompute() runs a function again and takes partial_gradients() of it.)
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "autograd/precision.h"
#include "tensor/tensor.h"

namespace om {

class Saved;

/// Gradients in the order of the op's inputs. Where Saved::needs says that none is wanted they may be
/// undefined.
using Gradients = std::vector<Tensor>;
using Rule = std::function<Gradients(const Saved&, const Tensor& g)>;

/// A kept tensor and the version of its storage at that time.
struct Kept {
  Tensor tensor;
  std::uint64_t version = 0;
};

class Node : public std::enable_shared_from_this<Node> {
 public:
  Node(const char* op, const Tensor& output);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  const char* op;
  std::uint64_t order;  ///< position in creation order
  Shape shape;          ///< of the output, hence of its gradient
  DType dtype;
  Precision precision;
  std::vector<std::shared_ptr<Node>> inputs;  ///< null where an input is absent or wants no gradient
  std::vector<Kept> kept_inputs;              ///< one per input, undefined where not kept
  Kept kept_output;                           ///< held without its node: no reference cycle
  Rule rule;
  bool released = false;

  /// Drops the rule and what it kept.
  void release();

 private:
  std::shared_ptr<Node> next_doomed_;  // while ~Node frees its ancestors
};

/// What a rule may ask for while it runs.
class Saved {
 public:
  Saved(const Node& node, const std::vector<bool>& needed) : node_(node), needed_(needed) {}

  /// Whether the gradient of input i is wanted.
  bool needs(int i) const { return needed_[static_cast<std::size_t>(i)]; }
  /// Shape of an input whose gradient is wanted.
  const Shape& shape(int i) const { return node_.inputs[static_cast<std::size_t>(i)]->shape; }
  /// Dtype of an input whose gradient is wanted.
  DType dtype(int i) const { return node_.inputs[static_cast<std::size_t>(i)]->dtype; }
  /// Whether input i was kept (and was there).
  bool has(int i) const { return node_.kept_inputs[static_cast<std::size_t>(i)].tensor.defined(); }
  /// The kept input or output, with its node. Error where its storage was written since.
  Tensor input(int i) const;
  Tensor output() const;

 private:
  const Node& node_;
  const std::vector<bool>& needed_;
};

}  // namespace om
