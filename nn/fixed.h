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
// kept. In training those alone may be fixed that want no gradient: a frozen generator's, a loss's.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <utility>

#include "tensor/tensor.h"

namespace om {

class FixedParameters {
 public:
  /// all: no parameter changes, and no op records. frozen: those change that want a gradient.
  enum class Which : std::uint8_t { all, frozen };
  explicit FixedParameters(Which which = Which::all) : which_(which) {}

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
  friend Tensor fixed(std::initializer_list<Tensor> parameters, int part,
                      const std::function<Tensor()>& form);
  friend bool is_fixed(const Tensor& parameter);
  Which which_;
  std::map<std::pair<const void*, int>, Tensor> formed_;  // by the first parameter's memory and the part
};

/// Whether a parameter is one of those that stay as they are, by what is in use.
bool is_fixed(const Tensor& parameter);

/// What form() gives, a function of these parameters, which is told from the first one's others by `part`.
Tensor fixed(std::initializer_list<Tensor> parameters, int part, const std::function<Tensor()>& form);

/// The parts that there are.
enum FixedPart : int { kFixedScale, kFixedShift, kFixedEnergy, kFixedOperand, kFixedOnes };

/// `weight`, the parameter or what follows from it alone, as convolutions take it in the scope's precision:
/// bf16 is rounded to once.
Tensor fixed_operand(const Tensor& parameter, const Tensor& weight);
inline Tensor fixed_operand(const Tensor& parameter) { return fixed_operand(parameter, parameter); }

}  // namespace om
