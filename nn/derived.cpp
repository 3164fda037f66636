#include "nn/derived.h"

#include <algorithm>

#include "autograd/ops.h"
#include "autograd/record.h"
#include "tensor/replay.h"

namespace om {

Tensor Derived::operator()(std::initializer_list<Tensor> parameters,
                           const std::function<Tensor()>& form) const {
  std::vector<Source> sources;
  bool variable = false;
  for (const Tensor& parameter : parameters) {
    if (!parameter.defined()) continue;
    sources.push_back({parameter.storage(), parameter.storage()->version()});
    variable = variable || wants(parameter);
  }
  if (variable) return form();
  if (!value_.defined() || sources != sources_ || precision() != precision_) {
    const Tensor value = form();
    if (Replay::recording()) return value;
    sources_ = std::move(sources);
    precision_ = precision();
    value_ = value;
  }
  Replay::keep(value_.storage());
  return value_;
}

Tensor as_operand(const Tensor& value) {
  const bool rounds = precision() == Precision::bf16 && value.dtype() == DType::f32 && !wants(value);
  return rounds ? cast(value, DType::bf16) : value;
}

Tensor rounded(const Tensor& weights, const Derived& kept) {
  if (precision() != Precision::bf16) return weights;
  return kept({weights}, [&] { return as_operand(weights); });
}

}  // namespace om
