// Derived: a value that follows from parameters alone (weights as the matrix units take them, the scale of a
// norm), kept until one of them is written. A frozen network so forms it once, not at every call.
//
//     const Tensor scale = scale_({weight_, running_var_}, [&] { return weight_ * rsqrt(running_var_ + eps_);
//     });
//
// Where ops record and one of the parameters wants a gradient, it is formed each time, and recorded. What is
// formed while a replay is recorded belongs to the recording and is not kept.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <vector>

#include "autograd/precision.h"
#include "tensor/tensor.h"

namespace om {

class Derived {
 public:
  /// form(), or what it gave before where the parameters and the scope's precision are as they were.
  Tensor operator()(std::initializer_list<Tensor> parameters, const std::function<Tensor()>& form) const;

 private:
  struct Source {
    std::shared_ptr<Storage> storage;
    std::uint64_t version;
    bool operator==(const Source&) const = default;
  };
  mutable std::vector<Source> sources_;
  mutable Precision precision_ = Precision::fp32;
  mutable Tensor value_;
};

/// A value as the convolutions take it in the scope's precision: rounded to bf16 once, not at every call.
/// Where its gradient is wanted it stays as it is: the op rounds, and the gradient is a float's.
Tensor as_operand(const Tensor& value);
/// The same of weights, kept.
Tensor rounded(const Tensor& weights, const Derived& kept);

}  // namespace om
