// Random tensors. A RandomSource numbers its draws; draw n of seed s is the same on every backend
// (tensor/philox.h).
#pragma once

#include "tensor/philox.h"
#include "tensor/tensor.h"

namespace om {

class RandomSource {
 public:
  RandomSource(std::uint64_t seed, Backend& backend);

  /// Standard normal or uniform [0, 1) numbers; each call is one draw. dtype f32, f64 or bf16.
  Tensor normal(const Shape& shape, DType dtype = DType::f32);
  Tensor uniform(const Shape& shape, DType dtype = DType::f32);

  /// What a checkpoint stores: seed and number of draws so far.
  philox::State state() const { return state_; }
  void set_state(philox::State state) { state_ = state; }

 private:
  Tensor draw(const Shape& shape, DType dtype, Distribution distribution);

  philox::State state_;
  Backend& backend_;
};

}  // namespace om
