#include "nn/fixed.h"

#include <algorithm>

#include "autograd/ops.h"
#include "autograd/record.h"

namespace om {
namespace {

thread_local FixedParameters* in_use = nullptr;

}  // namespace

FixedParameters::Use::Use(FixedParameters& store) : previous_(std::exchange(in_use, &store)) {}
FixedParameters::Use::~Use() { in_use = previous_; }

bool is_fixed(const Tensor& parameter) {
  if (in_use == nullptr) return false;
  return in_use->which_ == FixedParameters::Which::all ? !grad_enabled() : !parameter.requires_grad();
}

Tensor fixed(std::initializer_list<Tensor> parameters, int part, const std::function<Tensor()>& form) {
  if (!std::all_of(parameters.begin(), parameters.end(), is_fixed)) return form();
  Tensor& kept = in_use->formed_[{parameters.begin()->storage()->data(), part}];
  if (!kept.defined()) kept = form();
  return kept;
}

Tensor fixed_operand(const Tensor& parameter, const Tensor& weight) {
  if (precision() != Precision::bf16 || weight.dtype() != DType::f32) return weight;
  if (!is_fixed(parameter)) return weight;  // the op rounds it itself
  return fixed({parameter}, kFixedOperand, [&] { return cast(weight, DType::bf16); });
}

}  // namespace om
