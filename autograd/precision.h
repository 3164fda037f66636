// Precision: how matmul and the convolutions compute inside a scope.
//
//   fp32  float32 throughout (the default, and what tests compare in)
//   tf32  float32 storage, matrix units round operands to 10 bits of mantissa
//   bf16  operands are rounded to bfloat16 and results stored as bfloat16; accumulation stays float32
//
// float64 tensors are left alone by every scope. In bf16 the networks store activations as bfloat16, and all
// else as float32: parameters and their gradients, latents, noise, RGB, statistics, coefficients, losses.
// A node remembers the precision it was recorded in, and its rule runs in it.
#pragma once

#include <cstdint>
#include <string_view>

namespace om {

enum class Precision : std::uint8_t { fp32, tf32, bf16 };

Precision precision();
/// The scope's precision for small products that give latents and coefficients, which stay float32: tf32 in
/// the place of bf16.
Precision coefficient_precision();
std::string_view name_of(Precision precision);

/// Sets this thread's precision until the scope ends.
class PrecisionScope {
 public:
  explicit PrecisionScope(Precision precision);
  ~PrecisionScope();
  PrecisionScope(const PrecisionScope&) = delete;
  PrecisionScope& operator=(const PrecisionScope&) = delete;

 private:
  Precision previous_;
};

}  // namespace om
