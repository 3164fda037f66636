#include "autograd/recompute.h"

#include <algorithm>
#include <memory>
#include <unordered_set>
#include <utility>

#include "autograd/grad.h"
#include "autograd/partial.h"
#include "autograd/record.h"

namespace om {
namespace {

constexpr const char* kOp = "recompute";
constexpr std::size_t kMostInputs = 31;  // as many as a Keep has bits for

thread_local bool scope_on = false;
thread_local bool first_run = false, second_run = false;

/// While it lives, one of these is set.
struct Mark {
  explicit Mark(bool& flag) : marked(flag), previous(std::exchange(flag, true)) {}
  ~Mark() { marked = previous; }
  Mark(const Mark&) = delete;
  Mark& operator=(const Mark&) = delete;
  bool& marked;
  bool previous;
};

/// Error where the graph of y goes on below `since`, elsewhere than in the nodes that are known.
void expect_closed(const Tensor& y, std::uint64_t since, const std::unordered_set<const Node*>& known) {
  std::vector<const Node*> found = {y.node().get()};
  std::unordered_set<const Node*> seen(found.begin(), found.end());
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (known.contains(found[i])) continue;
    if (found[i]->order < since)
      fail(kOp, ": its function uses a tensor that wants a gradient (", found[i]->op, " ", found[i]->shape,
           ") and is none of its inputs and parameters");
    for (const auto& input : found[i]->inputs)
      if (input && seen.insert(input.get()).second) found.push_back(input.get());
  }
}

using Function = std::function<Tensor(const std::vector<Tensor>&)>;

/// Runs the function again, on leaves, and differentiates it. The first `inputs` operands are its inputs.
Gradients rule(const Function& function, std::size_t inputs, std::size_t operands, const Saved& s,
               const Tensor& g) {
  if (grad_enabled()) fail(kOp, ": gives first derivatives alone; create_graph is not for what it computed");
  const std::uint64_t since = Node(kOp, g).order;
  std::vector<Tensor> given, asked;
  std::vector<std::size_t> places;
  std::unordered_set<const Node*> known;
  for (std::size_t i = 0; i < operands; ++i) {
    const int at = static_cast<int>(i);
    Tensor operand = s.has(at) ? s.input(at) : Tensor();
    if (i < inputs) {
      if (operand.defined()) operand = operand.detach();
      if (s.needs(at)) require_grad(operand);
      given.push_back(operand);
    }
    if (operand.defined() && operand.requires_grad()) known.insert(operand.node().get());
    if (!s.needs(at)) continue;
    asked.push_back(operand);
    places.push_back(i);
  }
  const detail::ToldApart apart;
  Tensor y;
  {
    const Recording recording(true);
    const Mark mark(second_run);
    y = function(given);
  }
  if (!y.requires_grad()) fail(kOp, ": its function uses none of its inputs and parameters");
  expect_closed(y, since, known);
  const std::vector<Tensor> partial = partial_gradients(y, g, asked);
  Gradients gradients(operands);
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (!partial[i].defined())
      fail(kOp, ": its function does not use ", places[i] < inputs ? "input " : "parameter ",
           places[i] < inputs ? places[i] : places[i] - inputs);
    gradients[places[i]] = partial[i];
  }
  return gradients;
}

}  // namespace

RecomputeScope::RecomputeScope(bool on) : previous_(scope_on) { scope_on = on; }
RecomputeScope::~RecomputeScope() { scope_on = previous_; }
bool RecomputeScope::on() { return scope_on; }

bool recomputing() { return second_run; }
bool to_be_recomputed() { return first_run; }

Tensor recompute(const Function& function, const std::vector<Tensor>& inputs,
                 const std::vector<Tensor>& parameters) {
  std::vector<Tensor> operands = inputs;
  for (const Tensor& parameter : parameters)
    if (wants(parameter)) operands.push_back(parameter);
  const auto wanted = [](const Tensor& x) { return x.defined() && wants(x); };
  if (!scope_on || std::none_of(operands.begin(), operands.end(), wanted)) return function(inputs);
  if (operands.size() > kMostInputs)
    fail(kOp, ": takes at most ", kMostInputs, " inputs and parameters, got ", operands.size());
  const Tensor y = [&] {
    const NoGrad no_grad;
    const Mark mark(first_run);
    return function(inputs).detach();
  }();
  Keep keep = kKeepNothing;
  for (std::size_t i = 0; i < operands.size(); ++i) keep |= keep_input(static_cast<int>(i));
  return record(kOp, y, operands, keep,
                [function, count = inputs.size(), all = operands.size()](const Saved& s, const Tensor& g) {
                  return rule(function, count, all, s, g);
                });
}

}  // namespace om
