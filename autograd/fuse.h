// How an op that a backend may run as one kernel is put together. The op checks its operands and brings them
// to their dtypes; fuse() does the rest: without the kernels the definition runs; with them one node is
// recorded, whose rule is the fast one, or while the rule itself is recorded (for a further derivative) the
// same rule in ops.
//
// An absent operand is an undefined tensor and keeps its place among the inputs.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "autograd/checks.h"

namespace om::detail {

template <class Kernels>
struct Fused {
  const char* op;
  /// What the op means, in ops.
  std::function<Tensor()> definition;
  /// The result by kernel.
  std::function<Tensor(Kernels&)> forward;
  /// What both rules look at.
  Keep keep;
  /// The definition's derivative, in ops.
  Rule rule;
  /// The same by kernel.
  std::function<Gradients(Kernels&, const Saved&, const Tensor& g)> fast_rule;
};

template <class Kernels>
Tensor fuse(const std::vector<Tensor>& inputs, const Fused<Kernels>& fused) {
  auto* kernels = inputs[0].backend().template extension<Kernels>();
  if (kernels == nullptr) return fused.definition();
  return record(fused.op, fused.forward(*kernels), inputs, fused.keep,
                [kernels, slow = fused.rule, fast = fused.fast_rule](const Saved& s, const Tensor& g) {
                  return grad_enabled() ? slow(s, g) : fast(*kernels, s, g);
                });
}

/// The dtype that images of this one are computed in, and that coefficients and sums beside them have.
inline DType computed(DType images) { return images == DType::bf16 ? DType::f32 : images; }

/// The dtype of the images among mixed operands: bf16 images stay bf16 unless a coefficient is f64.
inline DType image_dtype(DType images, std::initializer_list<Tensor> coefficients) {
  DType widest = computed(images);
  for (const Tensor& t : coefficients)
    if (t.defined()) widest = promoted(widest, t.dtype());
  return widest == DType::f32 ? images : widest;
}

inline Tensor cast_if_defined(const Tensor& t, DType dtype) { return t.defined() ? cast(t, dtype) : t; }
inline bool wanted(const Tensor& t) { return t.defined() && wants(t); }
inline In in_or_none(const Tensor& t) { return t.defined() ? t.in() : In{}; }
inline Out out_or_none(const Tensor& t) { return t.defined() ? t.out() : Out{}; }

/// h, the gradient of an activation's argument u, from ops; `sign` is u, or a result with its sign.
inline Tensor argument_gradient(const Tensor& g, const Tensor& sign, double slope, double gain) {
  const Tensor scaled = gain == 1 ? g : g * gain;
  return slope == 1 ? scaled : leaky_relu_grad(scaled, sign.detach(), slope);
}

}  // namespace om::detail
