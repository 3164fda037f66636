// recompute(): the gradients of the function as it stands, from what goes in alone.
#include "autograd/recompute.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "autograd/fused.h"
#include "autograd/grad.h"
#include "autograd/ops.h"
#include "autograd/precision.h"
#include "autograd/random.h"
#include "tensor/registry.h"
#include "tests/harness/message.h"

namespace om {
namespace {

using test::message;
using Tensors = std::vector<Tensor>;

/// A value that wants a gradient, drawn from a seed.
Tensor leaf(std::uint64_t seed, const Shape& shape, double scale = 1) {
  RandomSource random(seed, backend("cpu"));
  return require_grad(random.normal(shape) * scale);
}

/// Three blocks y = f(x, s) with two parameters each, and the gradients of a function of the last y that uses
/// x and s again.
struct Net {
  Tensor x = leaf(1, {2, 8, 8, 4}), s = leaf(2, {2, 1, 1, 4});
  Tensors w;
  Net() {
    for (std::uint64_t i = 0; i < 6; ++i) w.push_back(leaf(3 + i, {4, 3, 3, 4}, 0.1));
  }

  Tensor block(const Tensors& in, std::size_t i) const {
    const Tensor y =
        channel_activation(conv2d(in[0], w[2 * i], Conv2d::same(1, 1)), {.scale = in[1], .slope = 0.2});
    return conv2d(y * y, w[2 * i + 1], Conv2d::same(1, 1)) + in[0];
  }
  std::vector<std::vector<float>> gradients(bool scope, Precision precision = Precision::fp32) const {
    const RecomputeScope recompute_scope(scope);
    Tensor y = x * 2;
    {
      const PrecisionScope precision_scope(precision);
      for (std::size_t i = 0; i < 3; ++i)
        y = recompute([this, i](const Tensors& in) { return block(in, i); }, {y, s},
                      {w[2 * i], w[2 * i + 1]});
    }
    const Tensor loss = sum(square(cast(y, DType::f32))) + sum(x) + sum(s * s);
    std::vector<std::vector<float>> out = {loss.to_host<float>()};
    Tensors inputs = w;
    inputs.insert(inputs.end(), {x, s});
    for (const Tensor& g : grad({loss}, inputs)) out.push_back(g.to_host<float>());
    return out;
  }
};

TEST(Recompute, GivesTheSameBits) {
  const Net net;
  EXPECT_EQ(net.gradients(true), net.gradients(false));
}

TEST(Recompute, RunsInThePrecisionOfTheFirstRun) {
  const Net net;
  EXPECT_EQ(net.gradients(true, Precision::bf16), net.gradients(false, Precision::bf16));
  EXPECT_NE(net.gradients(true, Precision::bf16), net.gradients(true));
}

TEST(Recompute, TellsTheFirstRunFromTheSecond) {
  const Tensor x = leaf(1, {5});
  std::vector<std::pair<bool, bool>> runs;
  const auto watched = [&](const Tensors& in) {
    runs.emplace_back(to_be_recomputed(), recomputing());
    return in[0] * 2;
  };
  using Runs = std::vector<std::pair<bool, bool>>;
  {
    const RecomputeScope scope(true);
    grad({sum(recompute(watched, {x}))}, {x});
    EXPECT_EQ(runs, (Runs{{true, false}, {false, true}}));
    runs.clear();
    recompute(watched, {x.detach()});  // nothing to differentiate: it runs once
    EXPECT_EQ(runs, (Runs{{false, false}}));
  }
  runs.clear();
  grad({sum(recompute(watched, {x}))}, {x});
  EXPECT_EQ(runs, (Runs{{false, false}}));
}

TEST(Recompute, Nests) {
  const Tensor x = leaf(1, {5}), w = leaf(2, {5});
  const auto gradients = [&](bool on) {
    const RecomputeScope scope(on);
    const auto inner = [&](const Tensors& in) { return exp(in[0] * w) * in[0]; };
    const auto outer = [&](const Tensors& in) {
      return recompute(inner, {recompute(inner, {in[0]}, {w}) * 0.5}, {w});
    };
    std::vector<std::vector<float>> out;
    for (const Tensor& g : grad({sum(recompute(outer, {x}, {w}))}, {x, w})) out.push_back(g.to_host<float>());
    return out;
  };
  EXPECT_EQ(gradients(true), gradients(false));
}

TEST(Recompute, KeepsWhatGoesInAlone) {
  const Tensor x = leaf(1, {1, 64, 64, 16});
  const std::size_t image = 64 * 64 * 16 * sizeof(float);
  CachingAllocator& memory = backend("cpu").memory();
  const auto block = [](const Tensors& in) { return exp(tanh(sigmoid(in[0]) * 0.5) * 0.5); };  // keeps three
  const auto measure = [&](bool on) {
    const RecomputeScope scope(on);
    const std::size_t before = memory.statistics().live_bytes;
    memory.reset_peak();
    Tensor y = x;
    for (int i = 0; i < 8; ++i) y = recompute(block, {y});
    const std::size_t kept = memory.statistics().live_bytes - before;
    const Tensor g = grad({sum(y)}, {x})[0];
    return std::pair(kept / image, (memory.statistics().peak_bytes - before) / image);
  };
  const auto [plain, plain_peak] = measure(false);
  const auto [less, less_peak] = measure(true);
  EXPECT_EQ(plain, 24U);
  EXPECT_EQ(less, 8U);  // seven inputs (x is the caller's) and the result
  EXPECT_LT(less_peak, plain_peak / 2 + 3);
  RecordProperty("plain_peak_images", static_cast<int>(plain_peak));
  RecordProperty("recomputed_peak_images", static_cast<int>(less_peak));
}

TEST(Recompute, RunsTheFunctionTwiceAndSaysWhich) {
  const Tensor x = leaf(1, {3});
  std::vector<bool> runs;
  const auto function = [&](const Tensors& in) {
    runs.push_back(recomputing());
    return exp(in[0]);
  };
  {
    const RecomputeScope scope(true);
    const Tensor y = recompute(function, {x});
    EXPECT_EQ(runs, (std::vector<bool>{false}));
    grad({sum(y)}, {x});
    EXPECT_EQ(runs, (std::vector<bool>{false, true}));
    runs.clear();
    recompute(function, {x.detach()});  // nothing wants a gradient
    const NoGrad no_grad;
    recompute(function, {x});
    EXPECT_EQ(runs, (std::vector<bool>{false, false}));
    EXPECT_FALSE(recomputing());
  }
  runs.clear();
  grad({sum(recompute(function, {x}))}, {x});  // out of the scope
  EXPECT_EQ(runs, (std::vector<bool>{false}));
}

TEST(Recompute, AbsentInputsKeepTheirPlace) {
  const RecomputeScope scope(true);
  const Tensor x = leaf(1, {3});
  const auto function = [](const Tensors& in) { return in[0].defined() ? in[0] : in[1] * in[1]; };
  const Tensor g = grad({sum(recompute(function, {Tensor(), x}))}, {x})[0];
  EXPECT_EQ(g.to_host<float>(), (x.detach() * 2).to_host<float>());
}

TEST(Recompute, RefusesWhatItCannotDo) {
  const RecomputeScope scope(true);
  const Tensor x = leaf(1, {3}), w = leaf(2, {3}), unused = leaf(3, {3});
  const auto product = [&](const Tensors& in) { return in[0] * w; };
  EXPECT_EQ(message([&] { grad({sum(recompute(product, {x}, {w}))}, {x}, {.create_graph = true}); }),
            "recompute: gives first derivatives alone; create_graph is not for what it computed");
  EXPECT_EQ(
      message([&] { grad({sum(recompute(product, {x}))}, {x}); }),
      "recompute: its function uses a tensor that wants a gradient (leaf [3]) and is none of its inputs "
      "and parameters");
  const Tensor derived = w * 2;
  const auto captured = [&](const Tensors& in) { return in[0] * derived; };
  EXPECT_NE(message([&] { grad({sum(recompute(captured, {x}))}, {x}); }).find("(affine [3])"),
            std::string::npos);
  EXPECT_EQ(message([&] {
              grad({sum(recompute(product, {x, unused}, {w}))}, {x, unused});
            }),
            "recompute: its function does not use input 1");
  EXPECT_EQ(message([&] {
              grad({sum(recompute(product, {x}, {w, unused}))}, {x, unused});
            }),
            "recompute: its function does not use parameter 1");
  EXPECT_EQ(message([&] { recompute(product, Tensors(40, x)); }),
            "recompute: takes at most 31 inputs and parameters, got 40");
  // and what was refused leaves nothing behind
  EXPECT_EQ(grad({sum(recompute(product, {x}, {w}))}, {x})[0].to_host<float>(), w.to_host<float>());
}

TEST(Recompute, OverwrittenInputsAndParametersAreErrors) {
  const RecomputeScope scope(true);
  const Tensor x = leaf(1, {3}), w = leaf(2, {3});
  const auto product = [&](const Tensors& in) { return in[0] * w; };
  for (const Tensor& overwritten : {x, w}) {
    const Tensor y = sum(recompute(product, {x}, {w}));
    overwritten.fill(1);
    EXPECT_NE(message([&] { grad({y}, {x}); }).find("recompute: a kept input ([3]) was overwritten"),
              std::string::npos);
  }
}

// What an input depends on in its turn is the outer graph's business: nothing counts twice.
TEST(Recompute, TakesPartialDerivatives) {
  const RecomputeScope scope(true);
  const Tensor x = leaf(1, {4});
  const auto product = [](const Tensors& in) { return in[0] * in[1]; };
  const auto gradient = [&] { return grad({sum(recompute(product, {x, exp(x)}))}, {x})[0].to_host<float>(); };
  const std::vector<float> again = gradient();
  // a parameter need not be a leaf, and may depend on another
  const Tensor w = leaf(2, {4});
  const auto of_w = [&] {
    const Tensor derived = exp(w);
    const auto function = [&](const Tensors& in) { return in[0] * w * derived; };
    return grad({sum(recompute(function, {x}, {w, derived}))}, {w})[0].to_host<float>();
  };
  const std::vector<float> again_of_w = of_w();
  const RecomputeScope off(false);
  EXPECT_EQ(again, gradient());
  const std::vector<float> plain = of_w();
  for (std::size_t i = 0; i < plain.size(); ++i)
    EXPECT_NEAR(again_of_w[i], plain[i], 1e-5 * std::abs(plain[i]));
}

}  // namespace
}  // namespace om
