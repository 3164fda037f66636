// Ops chained the way the networks chain them, so that second derivatives run through several rules at once:
// norms, modulation, resizing, and the R1 penalty, whose value is itself made of a gradient.
#include "autograd/grad.h"
#include "autograd/ops.h"
#include "tests/cases/case.h"

namespace om::cases {
namespace {

void add(std::vector<Case>& cases, const char* variant, std::vector<Input> inputs, Function f,
         int redraws = 0) {
  // In bf16 a kink may fall on the other side, and differences of rounded numbers keep few digits.
  cases.push_back({.name = std::string("composed/") + variant,
                   .inputs = std::move(inputs),
                   .function = std::move(f),
                   .tolerance = 5e-5,
                   .tolerance_bf16 = 0,
                   .redraws = redraws});
}

Tensor normalised(const Tensor& x, const std::vector<int>& dimensions) {
  const Tensor centred = x - mean(x, dimensions);
  return centred * rsqrt(mean(square(centred), dimensions) + 1e-5);
}

/// x / |x| over the last dimension, 0 where |x| is: safe at zero by `where` on both sides.
Tensor unit(const Tensor& x) {
  const Tensor squares = sum(square(x), {-1});
  const Tensor zero = Tensor::zeros({}, x.dtype(), x.backend());
  const Tensor one = Tensor::full({}, 1, x.dtype(), x.backend());
  const Tensor some = greater(squares, zero);
  return x * where(some, rsqrt(where(some, squares, one)), zero);
}

/// x as a leaf or as it is, so that the function can ask for a gradient with respect to it.
Tensor with_gradient(const Tensor& x) { return x.requires_grad() ? x : require_grad(x.detach()); }

Tensor network(const Tensor& x, const Tensor& w1, const Tensor& w2) {
  return conv2d(leaky_relu(conv2d(x, w1, Conv2d::same(2, 1)), 0.2), w2, Conv2d::same(1, 1));
}

/// |d sum(D(x)) / dx|^2, as in the R1 penalty.
Tensor gradient_penalty(const Tensor& image, const Tensor& w1, const Tensor& w2) {
  const Tensor x = with_gradient(image);
  return sum(square(grad({sum(square(network(x, w1, w2)))}, {x}, {.create_graph = true})[0]));
}

void add_norms(std::vector<Case>& cases) {
  add(cases, "batch_norm", {normal({3, 2, 3, 4}), normal({4}), normal({4})}, [](const Inputs& x) {
    return normalised(x[0], {0, 1, 2}) * x[1] + x[2];
  });
  add(cases, "instance_norm", {normal({2, 3, 3, 2}), normal({2, 1, 1, 2})}, [](const Inputs& x) {
    return normalised(x[0], {1, 2}) * x[1];
  });
  add(cases, "pixel_norm", {normal({3, 7})},
      [](const Inputs& x) { return x[0] * rsqrt(mean(square(x[0]), {1}) + 1e-8); });
  add(cases, "unit_vectors", {normal({4, 5})}, [](const Inputs& x) { return unit(x[0]); });
  add(cases, "softplus", {normal({3, 5})}, [](const Inputs& x) { return log(exp(x[0]) + 1); });
  add(cases, "mean_square", {normal({3, 5}), normal({3, 5})},
      [](const Inputs& x) { return mean(square(x[0] - x[1])); });
  cases.push_back({.name = "composed/unit_vectors_of_zero",
                   .inputs = {values({2, 3}, {0, 0, 0, 1, 2, 2})},
                   .function = [](const Inputs& x) { return unit(x[0]); },
                   .order = 1,
                   .tolerance = 5e-6,
                   .tolerance_bf16 = 0,
                   .drivers = kConformance});
}

void add_networks(std::vector<Case>& cases) {
  add(
      cases, "conv_relu_conv", {normal({2, 6, 5, 2}), normal({3, 3, 3, 2}), normal({2, 3, 3, 3})},
      [](const Inputs& x) { return network(x[0], x[1], x[2]); }, 2);
  add(cases, "modulated_conv", {normal({2, 4, 4, 3}), normal({2, 3}), normal({4, 3, 3, 3})},
      [](const Inputs& x) {
        const Tensor style = reshape(x[1], {2, 1, 1, 3});
        const Tensor energy = reshape(sum(square(reshape(x[2], {4, 9, 3})), {1}), {4, 3});
        const Tensor power = matmul(square(x[1]), energy, false, true);
        return conv2d(x[0] * style, x[2], Conv2d::same(1, 1)) * reshape(rsqrt(power + 1e-8), {2, 1, 1, 4});
      });
  add(cases, "up_conv_blur", {normal({1, 3, 4, 2}), normal({2, 3, 3, 3}), fixed(normal({4, 4}))},
      [](const Inputs& x) {
        const Tensor up = conv2d_input_grad(x[0], x[1], 7, 9, Conv2d::same(2, 0));
        return square(upfirdn2d(up, x[2], {.pad_top = 1, .pad_bottom = 1, .pad_left = 1, .pad_right = 1}));
      });
  add(cases, "resize", {normal({5, 4}), normal({1, 4, 6, 2}), normal({7, 6})}, [](const Inputs& x) {
    const Tensor rows = matmul(x[0], reshape(x[1], {1, 4, 12}));
    return square(matmul(x[2], reshape(rows, {1, 5, 6, 2})));
  });
  add(cases, "pool_of_squares", {distinct({1, 6, 6, 2})}, [](const Inputs& x) {
    return square(max_pool2d(square(x[0] + 3.0), {3, 2, 1}));
  });
  add(cases, "attention", {normal({2, 3, 4}), normal({2, 5, 4}), normal({1, 5, 2})}, [](const Inputs& x) {
    const Tensor scores = exp(matmul(x[0], x[1], false, true) * 0.5);
    return matmul(scores / sum(scores, {2}), x[2]);
  });
  add(cases, "squeeze", {normal({2, 3, 3, 4}), normal({4, 4})}, [](const Inputs& x) {
    const Tensor pooled = mean(x[0], {1, 2});
    return x[0] * sigmoid(reshape(matmul(reshape(pooled, {2, 4}), x[1], false, true), {2, 1, 1, 4}));
  });
}

void add_penalties(std::vector<Case>& cases) {
  add(
      cases, "r1_penalty", {normal({1, 6, 6, 2}), normal({3, 3, 3, 2}), normal({2, 3, 3, 3})},
      [](const Inputs& x) { return gradient_penalty(x[0], x[1], x[2]); }, 2);
  cases.back().order = 1;  // the penalty is a derivative already
  add(cases, "gradient_of_norm", {normal({3, 5})}, [](const Inputs& in) {
    const Tensor x = with_gradient(in[0]);
    return square(grad({sum(tanh(normalised(x, {0})))}, {x}, {.create_graph = true})[0]);
  });
  cases.back().order = 1;
}

}  // namespace

std::vector<Case> composed_cases() {
  std::vector<Case> cases;
  add_norms(cases);
  add_networks(cases);
  add_penalties(cases);
  return cases;
}

}  // namespace om::cases
