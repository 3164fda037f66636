// The chain rule. For y = f(x_1, .., x_n) and a scalar L, dL/dx_i = J_i^T dL/dy: each node's rule computes
// these products, and the gradients that reach one tensor along several paths add up. Nodes are visited in
// the reverse of creation order, so a node's gradient is complete before its rule runs.
#include "autograd/grad.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "autograd/node.h"
#include "autograd/ops.h"
#include "autograd/partial.h"
#include "autograd/record.h"

namespace om {
namespace {

/// The op whose rule runs on this thread.
thread_local const char* running_rule = nullptr;

Gradients run_rule(const Node& node, const std::vector<bool>& needed, const Tensor& g) {
  struct Mark {
    explicit Mark(const char* op)
        : previous(std::exchange(running_rule, op)), told(std::exchange(detail::watch.in_rule, true)) {}
    ~Mark() {
      running_rule = previous;
      detail::watch.in_rule = told;
    }
    const char* previous;  // a rule that runs a function again runs its rules in turn
    bool told;
  };
  Gradients gradients;
  {
    const Mark mark(node.op);
    const PrecisionScope scope(node.precision);
    gradients = node.rule(Saved(node, needed), g);
  }
  op_ran(node.op);
  return gradients;
}

/// For those who watch: ops here are the backward pass.
struct Walk {
  Walk() : previous(std::exchange(detail::watch.in_grad, true)) {}
  ~Walk() { detail::watch.in_grad = previous; }
  bool previous;
};

/// All nodes that the outputs depend on, oldest first; beyond those of `ends` none.
std::vector<Node*> ancestors(const std::vector<Tensor>& outputs,
                             const std::unordered_set<const Node*>& ends) {
  std::unordered_set<Node*> seen;
  std::vector<Node*> found;
  const auto visit = [&](Node* node) {
    if (node != nullptr && seen.insert(node).second) found.push_back(node);
  };
  for (const Tensor& output : outputs) visit(output.node().get());
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (ends.contains(found[i])) continue;
    for (const auto& input : found[i]->inputs) visit(input.get());
  }
  std::sort(found.begin(), found.end(), [](const Node* a, const Node* b) { return a->order < b->order; });
  return found;
}

void check_gradient(const char* op, const Node& of, const Tensor& g) {
  if (g.shape() != of.shape || g.dtype() != of.dtype)
    fail(op, ": the gradient of an input expects ", of.shape, " of ", name_of(of.dtype), ", got ", g.shape(),
         " of ", name_of(g.dtype()));
}

Tensor seed(const Tensor& output, const GradOptions& options, std::size_t i) {
  if (!options.output_gradients.empty()) return options.output_gradients[i];
  if (output.elements() != 1)
    fail("grad: output ", i, " has shape ", output.shape(),
         "; only a single element needs no output gradient");
  return Tensor::full(output.shape(), 1, output.dtype(), output.backend());
}

/// Tells of gradients that are final: an input's is when the oldest node that takes it has been visited.
class FinalGradients {
 public:
  FinalGradients(const std::vector<Tensor>& inputs, const std::vector<Node*>& nodes,
                 const std::unordered_set<const Node*>& useful, const GradOptions& options)
      : tell_(options.when_final) {
    if (!tell_) return;
    if (options.create_graph) fail("grad: when_final and create_graph exclude one another");
    std::unordered_map<const Node*, std::size_t> number;
    for (std::size_t i = 0; i < inputs.size(); ++i) number.emplace(inputs[i].node().get(), i);
    std::unordered_set<const Node*> taken;
    for (const Node* node : nodes) {  // oldest first
      if (!useful.contains(node)) continue;
      for (const auto& input : node->inputs)
        if (const auto found = number.find(input.get());
            found != number.end() && taken.insert(input.get()).second)
          ends_[node].push_back(*found);
    }
    for (std::size_t i = 0; i < inputs.size(); ++i)
      if (number.at(inputs[i].node().get()) == i && !taken.contains(inputs[i].node().get()))
        ends_[nullptr].emplace_back(inputs[i].node().get(), i);  // an output itself
  }

  /// Before the walk, with the gradients of the outputs.
  void announce(const std::unordered_map<const Node*, Tensor>& gradient, const GradOptions& options) const {
    if (!tell_ || !options.when_known) return;
    std::vector<std::size_t> known;
    for (const auto& [node, inputs] : ends_)
      for (const auto& [input, number] : inputs)
        if (node != nullptr || gradient.contains(input)) known.push_back(number);
    options.when_known(known);
  }

  void after(const Node* node, std::unordered_map<const Node*, Tensor>& gradient) const {
    if (!tell_) return;
    const auto here = ends_.find(node);
    if (here == ends_.end()) return;
    for (const auto& [input, number] : here->second)
      if (const auto found = gradient.find(input); found != gradient.end()) tell_(number, found->second);
  }

 private:
  const std::function<void(std::size_t, Tensor&)>& tell_;
  std::unordered_map<const Node*, std::vector<std::pair<const Node*, std::size_t>>> ends_;  // by that node
};

/// `partial`: the inputs are where the graph ends.
std::vector<Tensor> differentiate(const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs,
                                  const GradOptions& options, bool partial) {
  if (!options.output_gradients.empty() && options.output_gradients.size() != outputs.size())
    fail("grad: expects ", outputs.size(), " output gradients, got ", options.output_gradients.size());
  std::unordered_map<const Node*, Tensor> gradient;  // of each node's output, as far as it has been summed
  std::unordered_set<const Node*> useful;            // nodes on a path to an input
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].requires_grad())
      fail("grad: input ", i, " (", inputs[i].shape(), ") does not require a gradient");
    useful.insert(inputs[i].node().get());
  }
  const std::unordered_set<const Node*> targets = useful;

  const std::vector<Node*> nodes = ancestors(outputs, partial ? targets : std::unordered_set<const Node*>());
  for (const Node* node : nodes)
    for (const auto& input : node->inputs)
      if (useful.contains(input.get())) useful.insert(node);

  const Recording recording(options.create_graph);
  const Walk walk;
  const auto accumulate = [&](const char* op, const Node* node, const Tensor& g) {
    check_gradient(op, *node, g);
    Tensor& sum = gradient[node];
    sum = sum.defined() ? add(sum, g) : g;
  };
  for (std::size_t i = 0; i < outputs.size(); ++i)
    if (outputs[i].requires_grad()) accumulate("grad", outputs[i].node().get(), seed(outputs[i], options, i));

  const FinalGradients final_gradients(inputs, nodes, useful, options);
  final_gradients.announce(gradient, options);
  const auto visit = [&](Node& node) {
    const auto found = gradient.find(&node);
    if (found == gradient.end() || !useful.contains(&node)) return;
    if (partial && targets.contains(&node)) return;
    std::vector<bool> needed;
    bool any = false;
    for (const auto& input : node.inputs) {
      needed.push_back(input != nullptr && useful.contains(input.get()));
      any = any || needed.back();
    }
    if (!any) return;
    if (node.released) fail(node.op, ": its graph was released by an earlier grad(); pass keep_graph there");
    const Tensor g = found->second;
    if (!targets.contains(&node)) gradient.erase(found);
    const Gradients gradients = run_rule(node, needed, g);
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      if (!needed[i]) continue;
      if (i >= gradients.size() || !gradients[i].defined())
        fail(node.op, ": its rule gave no gradient for input ", i);
      accumulate(node.op, node.inputs[i].get(), gradients[i]);
    }
    if (!options.create_graph && !options.keep_graph) node.release();
  };
  for (auto it = nodes.rbegin(); it != nodes.rend(); ++it) {
    visit(**it);
    final_gradients.after(*it, gradient);
  }
  final_gradients.after(nullptr, gradient);

  std::vector<Tensor> results;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const auto found = gradient.find(inputs[i].node().get());
    if (found == gradient.end() && !options.allow_unused)
      fail("grad: the outputs do not depend on input ", i, " (", inputs[i].shape(), ")");
    results.push_back(found == gradient.end() ? Tensor() : found->second);
  }
  return results;
}

}  // namespace

std::vector<Tensor> grad(const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs,
                         const GradOptions& options) {
  if (running_rule != nullptr)
    fail("grad: called by the rule of ", running_rule, "; a rule is made of ops alone");
  return differentiate(outputs, inputs, options, false);
}

std::vector<Tensor> partial_gradients(const Tensor& output, const Tensor& g,
                                      const std::vector<Tensor>& inputs) {
  return differentiate({output}, inputs, {.output_gradients = {g}, .allow_unused = true}, true);
}

Tensor require_grad(const Tensor& x) {
  if (!is_floating(x.dtype())) fail("require_grad: expects a floating dtype, got ", name_of(x.dtype()));
  if (!x.requires_grad()) x.set_node(std::make_shared<Node>("leaf", x));
  return x;
}

}  // namespace om
