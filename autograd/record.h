// How an op records its derivative. The pattern, from autograd/elementwise.cpp:
//
//   Tensor exp(const Tensor& x) {
//     Tensor y = ...;  // checks, allocation, kernel
//     return record("exp", y, {x}, kKeepOutput,
//                   [](const Saved& s, const Tensor& g) { return Gradients{g * s.output()}; });
//   }
//
// `keep` says what the rule will look at; nothing else outlives the call. An operand that is absent is an
// undefined tensor.
#pragma once

#include <utility>
#include <vector>

#include "autograd/node.h"
#include "autograd/observer.h"

namespace om {

using Keep = std::uint32_t;
constexpr Keep kKeepNothing = 0;
constexpr Keep kKeepOutput = 1U << 31;
/// Keep input i where `condition` holds, which usually is: another input wants a gradient.
constexpr Keep keep_input(int i, bool condition = true) { return condition ? 1U << i : 0U; }

/// Whether ops record on this thread.
bool grad_enabled();

/// While it lives, ops on this thread record, or do not.
class Recording {
 public:
  explicit Recording(bool on);
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

 private:
  bool previous_;
};

/// Whether x wants a gradient and ops record.
inline bool wants(const Tensor& x) { return grad_enabled() && x.requires_grad(); }

/// Attaches a node to y. Called by record once it is known that some input wants a gradient.
Tensor attach(const char* op, Tensor y, const std::vector<Tensor>& inputs, Keep keep, Rule rule);

template <class R>
Tensor record(const char* op, Tensor y, const std::vector<Tensor>& inputs, Keep keep, R&& rule) {
  op_ran(op);
  if (!grad_enabled()) return y;
  for (const Tensor& input : inputs)
    if (input.defined() && input.requires_grad())
      return attach(op, std::move(y), inputs, keep, Rule(std::forward<R>(rule)));
  return y;
}

}  // namespace om
