// Whether ops record, who watches them, and the node that a recorded op gets.
#include "autograd/record.h"

#include <utility>

#include "autograd/grad.h"

namespace om {
namespace {

thread_local bool recording = true;

}  // namespace

bool grad_enabled() { return recording; }
Recording::Recording(bool on) : previous_(recording) { recording = on; }
Recording::~Recording() { recording = previous_; }

NoGrad::NoGrad() : previous_(recording) { recording = false; }
NoGrad::~NoGrad() { recording = previous_; }

void detail::tell(const char* op) {
  if (!watch.in_rule) watch.observer->ran(op, watch.in_grad ? Pass::backward : Pass::forward);
}

Watching::Watching(OpObserver& observer) : previous_(std::exchange(detail::watch.observer, &observer)) {}
Watching::~Watching() { detail::watch.observer = previous_; }

Tensor attach(const char* op, Tensor y, const std::vector<Tensor>& inputs, Keep keep, Rule rule) {
  auto node = std::make_shared<Node>(op, y);
  const auto hold = [](const Tensor& x) { return Kept{x.detach(), x.storage()->version()}; };
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].defined()) {
      node->inputs.push_back(nullptr);
      node->kept_inputs.push_back(Kept{});
      continue;
    }
    node->inputs.push_back(inputs[i].node());
    const bool kept = i < 31 && (keep & keep_input(static_cast<int>(i))) != 0;
    node->kept_inputs.push_back(kept ? hold(inputs[i]) : Kept{});
  }
  if ((keep & kKeepOutput) != 0) node->kept_output = hold(y);
  node->rule = std::move(rule);
  y.set_node(std::move(node));
  return y;
}

}  // namespace om
