// What follows from parameters alone: the scale and shift of a batch norm in evaluation mode, the energy of a
// modulated convolution's weights, weights times a constant or rounded to bf16. In training it changes with
// every step; where many forward passes follow one another, it is the same in all of them and need be formed
// but once. Whoever knows that the parameters stay as they are says so:
//
//   FixedParameters fixed;
//   for (..) { const FixedParameters::Use use(fixed); y = network(x); }
//
// The first pass forms and keeps, later ones, recorded ones too (tensor/replay.h), find. The bits are those
// of forming it each time. Without a FixedParameters in use, or where ops record derivatives, nothing is
// kept.
#pragma once

#include <functional>
#include <map>
#include <utility>

#include "tensor/tensor.h"

namespace om {

class FixedParameters {
 public:
  /// While it lives, what this thread forms is kept in `store`; of several the innermost serves.
  class Use {
   public:
    explicit Use(FixedParameters& store);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    FixedParameters* previous_;
  };

  std::size_t size() const { return formed_.size(); }

 private:
  friend Tensor fixed(const Tensor& parameter, int part, const std::function<Tensor()>& form);
  std::map<std::pair<const void*, int>, Tensor> formed_;  // by the parameter's memory and the part
};

/// What form() gives, a function of `parameter` (and others that always go with it) that is told from its
/// others by `part`.
Tensor fixed(const Tensor& parameter, int part, const std::function<Tensor()>& form);

/// The parts that there are.
enum FixedPart : int { kFixedScale, kFixedShift, kFixedEnergy, kFixedOperand, kFixedOnes };

/// A parameter as convolutions take it in the scope's precision: bf16 is rounded to once.
Tensor fixed_operand(const Tensor& parameter);

}  // namespace om
