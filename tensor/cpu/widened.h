// bf16 for matmul and convolutions: operands are widened to float; a bf16 result is rounded once, an f32
// result stays as it is.
#pragma once

#include "tensor/backend.h"
#include "tensor/cpu/parallel.h"
#include "tensor/scratch.h"

namespace om::cpu {

/// A bf16 array as float.
class Widened {
 public:
  Widened(CachingAllocator& memory, In x)
      : scratch_(memory, sizeof(float) * static_cast<std::size_t>(x.shape.elements())), shape_(x.shape) {
    const BFloat16* from = x.as<BFloat16>();
    float* to = scratch_.as<float>();
    parallel_tiles(x.shape.elements(), 65536, [&](std::int64_t begin, std::int64_t end) {
      std::copy(from + begin, from + end, to + begin);
    });
  }
  In in() const { return {scratch_.as<float>(), DType::f32, shape_}; }

 private:
  Scratch scratch_;
  Shape shape_;
};

/// body(Type<T>, a, b, y) with T float or double; bf16 operands arrive as float copies.
template <class Body>
void with_float_operands(CachingAllocator& memory, const char* kernel, In a, In b, Out y, const Body& body) {
  if (a.dtype == DType::f64) return body(Type<double>{}, a, b, y);
  if (a.dtype == DType::f32) return body(Type<float>{}, a, b, y);
  if (a.dtype != DType::bf16) fail(kernel, ": expects a floating dtype, got ", name_of(a.dtype));
  const Widened wide_a(memory, a), wide_b(memory, b);
  if (y.dtype == DType::f32) return body(Type<float>{}, wide_a.in(), wide_b.in(), y);
  const std::int64_t count = y.shape.elements();
  Scratch result(memory, sizeof(float) * static_cast<std::size_t>(count));
  body(Type<float>{}, wide_a.in(), wide_b.in(), Out{result.as<float>(), DType::f32, y.shape});
  const float* from = result.as<float>();
  BFloat16* to = y.as<BFloat16>();
  parallel_tiles(count, 65536, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) to[i] = BFloat16(from[i]);
  });
}

}  // namespace om::cpu
