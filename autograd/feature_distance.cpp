// feature_distance: the weighted squared difference of features of unit length.
#include "autograd/fuse.h"
#include "autograd/fused.h"
#include "tensor/fused.h"

namespace om {
namespace {

using namespace detail;

constexpr const char* kOp = "feature_distance";
constexpr double kEps = 1e-10;

/// Positions among the inputs of the node.
enum : int { kA, kB, kWeights, kInputs };

/// x / (|x| + eps) over channels. Where |x| = 0 the result is 0 and so is its gradient: `where` on both
/// sides keeps the infinite slope of the square root out of the product.
struct Unit {
  explicit Unit(const Tensor& x) : x(x) {
    const Tensor energy = sum(square(x), {-1});
    const Tensor zero = Tensor::zeros({}, energy.dtype(), energy.backend());
    const Tensor one = Tensor::full({}, 1, energy.dtype(), energy.backend());
    const Tensor empty = equal(energy, zero);
    norm = sqrt(where(empty, one, energy));
    t = where(empty, zero, reciprocal(norm + kEps));
    value = x * t;
  }
  /// The gradient of x for the gradient q of value: t q - t^2 (q . x) x / |x|.
  Tensor gradient(const Tensor& q) const { return q * t - x * (sum(q * x, {-1}) * square(t) / norm); }

  Tensor x, norm, t, value;  // norm: 1 where it is 0
};

double places(const Tensor& a) { return static_cast<double>(a.size(1) * a.size(2)); }

Tensor definition(const Tensor& a, const Tensor& b, const Tensor& weights) {
  const DType dtype = computed(a.dtype());
  const Tensor difference = square(Unit(cast(a, dtype)).value - Unit(cast(b, dtype)).value);
  const Tensor weighted = sum(difference, {1, 2}) * reshape(weights, {1, 1, 1, a.size(3)});
  return reshape(sum(weighted, {3}), {a.size(0)}) / places(a);
}

/// The gradients that are wanted and not there yet.
void complete(Gradients& gradients, const Saved& s, const Tensor& g) {
  const DType dtype = computed(s.input(kA).dtype());
  const Unit a(cast(s.input(kA), dtype)), b(cast(s.input(kB), dtype));
  const Tensor weights = reshape(s.input(kWeights), {1, 1, 1, a.x.size(3)});
  const Tensor difference = a.value - b.value, per_image = reshape(g, {g.size(0), 1, 1, 1}) / places(a.x);
  const Tensor q = difference * weights * (per_image * 2.0);
  const auto missing = [&](int i) { return s.needs(i) && !gradients[static_cast<std::size_t>(i)].defined(); };
  if (missing(kA)) gradients[kA] = cast(a.gradient(q), s.dtype(kA));
  if (missing(kB)) gradients[kB] = cast(b.gradient(-q), s.dtype(kB));
  if (missing(kWeights))
    gradients[kWeights] = reshape(sum(square(difference) * per_image, {0, 1, 2}), s.shape(kWeights));
}

Gradients rule(const Saved& s, const Tensor& g) {
  Gradients gradients(kInputs);
  complete(gradients, s, g);
  return gradients;
}

Gradients fast_rule(DistanceKernels& kernels, const Saved& s, const Tensor& g) {
  Gradients gradients(kInputs);
  if (s.needs(kA)) gradients[kA] = s.input(kA).empty_like();
  if (s.needs(kB)) gradients[kB] = s.input(kB).empty_like();
  if (s.needs(kA) || s.needs(kB))
    kernels.feature_distance_grad({s.input(kA).in(), s.input(kB).in(), s.input(kWeights).in()}, g.in(),
                                  out_or_none(gradients[kA]), out_or_none(gradients[kB]));
  if (s.needs(kWeights)) complete(gradients, s, g);
  return gradients;
}

}  // namespace

Tensor feature_distance(const Tensor& a_, const Tensor& b_, const Tensor& weights_) {
  expect_rank(kOp, "a", a_, 4);
  expect_rank(kOp, "weights", weights_, 1);
  expect_floating(kOp, a_);
  expect_floating(kOp, b_);
  same_backend(kOp, a_, b_);
  same_backend(kOp, a_, weights_);
  if (a_.shape() != b_.shape()) fail(kOp, ": features differ in shape, ", a_.shape(), " and ", b_.shape());
  if (weights_.size(0) != a_.size(3))
    fail(kOp, ": expects weights [", a_.size(3), "], got ", weights_.shape(), " (a ", a_.shape(), ")");
  if (a_.size(1) == 0 || a_.size(2) == 0) fail(kOp, ": expects at least one pixel, got a ", a_.shape());
  const DType images = image_dtype(promoted(a_.dtype(), b_.dtype()), {weights_});
  const Tensor a = cast(a_, images), b = cast(b_, images), weights = cast(weights_, computed(images));
  const auto forward = [&](DistanceKernels& kernels) {
    Tensor distance = weights.empty_like({a.size(0)});
    kernels.feature_distance({a.in(), b.in(), weights.in()}, distance.out());
    return distance;
  };
  return fuse<DistanceKernels>({a, b, weights},
                               {.op = kOp,
                                .definition = [&] { return definition(a, b, weights); },
                                .forward = forward,
                                .keep = keep_input(kA) | keep_input(kB) | keep_input(kWeights),
                                .rule = rule,
                                .fast_rule = fast_rule});
}

}  // namespace om
