// Who watches is told of every op and rule, in order, and of none twice.
#include "autograd/observer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "autograd/fused.h"
#include "autograd/grad.h"
#include "autograd/ops.h"
#include "autograd/random.h"
#include "autograd/recompute.h"
#include "tensor/registry.h"

namespace om {
namespace {

class Notes : public OpObserver {
 public:
  void ran(std::string_view op, Pass pass) override {
    lines.push_back((pass == Pass::forward ? "" : "back ") + std::string(op));
  }
  std::vector<std::string> lines;
};

using Lines = std::vector<std::string>;

Tensor ones(const Shape& shape) { return Tensor::full(shape, 1, DType::f32, backend("cpu")); }

TEST(Observer, OpsOnceAndRulesAsAWhole) {
  const Tensor x = require_grad(ones({1, 4, 4, 2})), w = require_grad(ones({3, 3, 3, 2}));
  Notes notes;
  const Watching watching(notes);
  const Tensor y = sum(square(conv2d(x, w, {.pad_h = 1, .pad_w = 1})));
  EXPECT_EQ(notes.lines, (Lines{"conv2d", "square", "sum"}));
  notes.lines.clear();
  grad({y}, {x, w});
  EXPECT_EQ(notes.lines, (Lines{"back sum", "back square", "back conv2d"}));
}

TEST(Observer, GradientsThatAddUp) {
  const Tensor x = require_grad(ones({2}));
  Notes notes;
  const Tensor first = exp(x), second = tanh(x), y = sum(first + second);
  const Watching watching(notes);
  grad({y}, {x});
  EXPECT_EQ(notes.lines, (Lines{"back sum", "back add", "back tanh", "back exp", "back add"}));
}

TEST(Observer, WhatRunsAgainIsToldOpByOp) {
  const Tensor x = require_grad(ones({2}));
  const RecomputeScope scope(true);
  const Tensor y = sum(recompute([](const std::vector<Tensor>& in) { return exp(tanh(in[0])); }, {x}, {}));
  Notes notes;
  const Watching watching(notes);
  grad({y}, {x});
  EXPECT_EQ(notes.lines,
            (Lines{"back sum", "back tanh", "back exp", "back exp", "back tanh", "back recompute"}));
}

TEST(Observer, OpsThatRecordNothing) {
  const Tensor x = ones({2, 2});
  RandomSource random(1, backend("cpu"));
  Notes notes;
  const Watching watching(notes);
  greater(x, x);
  sign(x);
  floor(x);
  max(x);
  cast(x, DType::i32);
  cast(x, DType::f64);
  random.normal({3});
  EXPECT_EQ(notes.lines, (Lines{"greater", "sign", "floor", "max", "cast", "cast", "random"}));
}

TEST(Observer, FusedOpsAreOne) {
  const Tensor x = require_grad(ones({1, 4, 4, 2}));
  Notes notes;
  const Watching watching(notes);
  const Tensor y = channel_activation(x, {.bias = ones({2}), .slope = 0.2});
  const auto is_fused = [](const std::string& line) { return line == "channel_activation"; };
  EXPECT_EQ(std::count_if(notes.lines.begin(), notes.lines.end(), is_fused), 1);
}

TEST(Observer, WithoutRecordingAndWithoutWatching) {
  Notes notes;
  {
    const NoGrad off;
    const Watching watching(notes);
    exp(ones({2}));
    {
      Notes inner;
      const Watching within(inner);
      tanh(ones({2}));
      EXPECT_EQ(inner.lines, (Lines{"tanh"}));
    }
    exp(ones({2}));
  }
  exp(ones({2}));
  EXPECT_EQ(notes.lines, (Lines{"exp", "exp"}));
}

TEST(Observer, ARuleThatThrowsEndsItsPass) {
  const Tensor x = require_grad(ones({2}));
  const Tensor y = exp(x);
  y.fill(3);  // the kept output was overwritten
  Notes notes;
  const Watching watching(notes);
  EXPECT_THROW(grad({sum(y)}, {x}), Error);
  notes.lines.clear();
  exp(x);
  EXPECT_EQ(notes.lines, (Lines{"exp"}));
}

}  // namespace
}  // namespace om
