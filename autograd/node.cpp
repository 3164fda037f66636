// Nodes: what they hold, how a chain of them is freed, and what a rule sees of one.
#include "autograd/node.h"

#include <atomic>

namespace om {
namespace {

std::atomic<std::uint64_t> next_order{0};

}  // namespace

Node::Node(const char* op, const Tensor& output)
    : op(op), order(next_order++), shape(output.shape()), dtype(output.dtype()), precision(om::precision()) {}

Node::~Node() {
  // Unlinks ancestors in a loop: a chain of nodes that freed one another recursively could exhaust the stack.
  // Those to be freed form a list of their own, since a destructor must not need memory.
  release();
  std::shared_ptr<Node> doomed;
  const auto unlink = [&](Node& node) {
    for (auto& input : node.inputs) {
      if (input != nullptr && input.use_count() == 1) {
        input->next_doomed_ = std::move(doomed);
        doomed = std::move(input);
      }
      input = nullptr;
    }
  };
  unlink(*this);
  while (doomed != nullptr) {
    const std::shared_ptr<Node> node = std::move(doomed);
    doomed = std::move(node->next_doomed_);
    node->release();
    unlink(*node);
  }
}

void Node::release() {
  released = true;
  rule = nullptr;
  kept_inputs.clear();
  kept_output = {};
}

namespace {

Tensor checked(const Kept& kept, const char* op, const char* what) {
  if (!kept.tensor.defined()) fail(op, ": its rule asked for an ", what, " that it did not keep");
  if (kept.tensor.storage()->version() != kept.version)
    fail(op, ": a kept ", what, " (", kept.tensor.shape(), ") was overwritten since the op ran");
  return kept.tensor;
}

}  // namespace

Tensor Saved::input(int i) const {
  Tensor x = checked(node_.kept_inputs[static_cast<std::size_t>(i)], node_.op, "input").detach();
  x.set_node(node_.inputs[static_cast<std::size_t>(i)]);
  return x;
}

Tensor Saved::output() const {
  Tensor y = checked(node_.kept_output, node_.op, "output").detach();
  y.set_node(const_cast<Node&>(node_).shared_from_this());
  return y;
}

}  // namespace om
