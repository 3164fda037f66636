// PrecisionScope: what operands, results and gradients are stored as.
#include "autograd/precision.h"

#include <gtest/gtest.h>

#include "autograd/fused.h"
#include "autograd/grad.h"
#include "autograd/ops.h"
#include "tensor/registry.h"

namespace om {
namespace {

TEST(Precision, Bf16StoresBf16AndGivesFloatGradients) {
  Backend& cpu = backend("cpu");
  const Tensor x = require_grad(Tensor::full({1, 2, 2, 1}, 1.00390625, DType::f32, cpu));
  const Tensor w = require_grad(Tensor::full({1, 1, 1, 1}, 3, DType::f32, cpu));
  Tensor y, product;
  {
    const PrecisionScope scope(Precision::bf16);
    y = conv2d(x, w);
    product = matmul(reshape(x, {2, 2}), reshape(x, {2, 2}));
  }
  EXPECT_EQ(precision(), Precision::fp32);
  EXPECT_EQ(y.dtype(), DType::bf16);
  EXPECT_EQ(product.dtype(), DType::bf16);
  // 1 + 2^-8 is no bf16 number; it rounds to 1, so the gradient of w is 4 exactly.
  const auto gradients = grad({sum(y)}, {x, w});
  EXPECT_EQ(gradients[0].dtype(), DType::f32);
  EXPECT_EQ(gradients[1].dtype(), DType::f32);
  EXPECT_EQ(gradients[1].to_host<float>()[0], 4);
}

TEST(Precision, SumsOfBf16OperandsAreFloatOnRequest) {
  Backend& cpu = backend("cpu");
  const auto full = [&](double value, DType dtype) { return Tensor::full({2, 2}, value, dtype, cpu); };
  EXPECT_EQ(matmul(full(1, DType::bf16), full(1, DType::bf16)).dtype(), DType::bf16);
  EXPECT_EQ(matmul(full(1, DType::bf16), full(1, DType::bf16), false, false, Sums::f32).dtype(), DType::f32);
  EXPECT_EQ(matmul(full(1, DType::f64), full(1, DType::f64), false, false, Sums::f32).dtype(), DType::f64);
  // 1 + 2^-8 + 2^-8: the sum of exact products needs more than bf16 holds.
  const Tensor a = require_grad(Tensor::from_host(std::vector<float>{1, 0.00390625F}, {1, 2}, cpu));
  const Tensor b = Tensor::from_host(std::vector<float>{1, 1}, {2, 1}, cpu);
  const PrecisionScope scope(Precision::bf16);
  const Tensor y = matmul(a, b, false, false, Sums::f32);
  EXPECT_EQ(y.to_host<float>()[0], 1.00390625F);
  EXPECT_EQ(matmul(a, b).dtype(), DType::bf16);
  EXPECT_EQ(grad({y}, {a})[0].dtype(), DType::f32);
}

TEST(Precision, FusedOpsKeepImagesBf16AndTheRestFloat) {
  for (const char* name : {"cpu", "reference"}) {
    Backend& on = backend(name);
    const Tensor x = require_grad(Tensor::full({2, 3, 3, 4}, 0.5, DType::bf16, on));
    const Tensor c = require_grad(Tensor::full({4}, 1.25, DType::f32, on));
    const Tensor y = channel_activation(x, {.scale = c, .bias = c, .slope = 0.2, .factor = c});
    EXPECT_EQ(y.dtype(), DType::bf16) << name;
    const BatchNormResult norm = batch_norm(y, c, c, {.residual = x, .slope = 0});
    EXPECT_EQ(norm.y.dtype(), DType::bf16) << name;
    EXPECT_EQ(norm.mean.dtype(), DType::f32) << name;
    EXPECT_EQ(norm.variance.dtype(), DType::f32) << name;
    for (const bool create_graph : {true, false}) {
      const auto gradients = grad({sum(norm.y)}, {x, c}, {.create_graph = create_graph, .keep_graph = true});
      EXPECT_EQ(gradients[0].dtype(), DType::bf16) << name;
      EXPECT_EQ(gradients[1].dtype(), DType::f32) << name;
    }
    // Otherwise mixed operands promote.
    const Tensor wide = Tensor::full({4}, 1, DType::f64, on);
    EXPECT_EQ(channel_activation(x, {.bias = wide}).dtype(), DType::f64) << name;
    EXPECT_EQ(channel_activation(cast(x, DType::f32), {.bias = wide}).dtype(), DType::f64) << name;
    EXPECT_EQ(channel_activation(cast(x, DType::f32), {.bias = cast(c, DType::bf16)}).dtype(), DType::f32);
    EXPECT_EQ(channel_activation(x, {.residual = cast(x, DType::f32)}).dtype(), DType::f32) << name;
  }
}

TEST(Precision, RulesRunInThePrecisionOfTheirOp) {
  Backend& cpu = backend("cpu");
  // f32 operands recorded in fp32 stay f32 although grad() runs in a bf16 scope.
  const Tensor x = require_grad(Tensor::full({2, 2}, 1.00390625, DType::f32, cpu));
  const Tensor y = matmul(x, x);
  const PrecisionScope scope(Precision::bf16);
  const Tensor g = grad({sum(y)}, {x})[0];
  EXPECT_EQ(g.dtype(), DType::f32);
  EXPECT_FLOAT_EQ(g.to_host<float>()[0], 4 * 1.00390625F);
}

TEST(Precision, DoubleIsLeftAlone) {
  const PrecisionScope scope(Precision::bf16);
  const Tensor x = Tensor::full({2, 2}, 3, DType::f64, backend("cpu"));
  EXPECT_EQ(matmul(x, x).dtype(), DType::f64);
}

TEST(Precision, ScopesNest) {
  EXPECT_EQ(precision(), Precision::fp32);
  {
    const PrecisionScope outer(Precision::bf16);
    {
      const PrecisionScope inner(Precision::tf32);
      EXPECT_EQ(precision(), Precision::tf32);
    }
    EXPECT_EQ(precision(), Precision::bf16);
  }
  EXPECT_EQ(precision(), Precision::fp32);
}

}  // namespace
}  // namespace om
