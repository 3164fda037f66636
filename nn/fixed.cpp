#include "nn/fixed.h"

#include "autograd/ops.h"
#include "autograd/record.h"

namespace om {
namespace {

thread_local FixedParameters* in_use = nullptr;

}  // namespace

FixedParameters::Use::Use(FixedParameters& store) : previous_(std::exchange(in_use, &store)) {}
FixedParameters::Use::~Use() { in_use = previous_; }

Tensor fixed(const Tensor& parameter, int part, const std::function<Tensor()>& form) {
  if (in_use == nullptr || grad_enabled()) return form();
  Tensor& kept = in_use->formed_[{parameter.storage()->data(), part}];
  if (!kept.defined()) kept = form();
  return kept;
}

Tensor fixed_operand(const Tensor& parameter) {
  if (precision() != Precision::bf16 || parameter.dtype() != DType::f32) return parameter;
  if (in_use == nullptr || grad_enabled()) return parameter;  // the op rounds it itself
  return fixed(parameter, kFixedOperand, [&] { return cast(parameter, DType::bf16); });
}

}  // namespace om
