// What follows from parameters alone is formed once where it may be, and has the bits of being formed anew.
#include "nn/fixed.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "autograd/grad.h"
#include "autograd/observer.h"
#include "autograd/ops.h"
#include "autograd/random.h"
#include "nn/batch_norm.h"
#include "nn/conv.h"
#include "nn/equalized.h"
#include "nn/initial.h"
#include "nn/modulated_conv.h"
#include "tensor/registry.h"

namespace om {
namespace {

/// Counts ops by name.
class Counter : public OpObserver {
 public:
  void ran(std::string_view op, Pass) override { ++ops[std::string(op)]; }
  int all() const {
    int total = 0;
    for (const auto& [name, count] : ops) total += count;
    return total;
  }
  std::map<std::string, int> ops;
};

struct Layer {
  std::string name;
  std::shared_ptr<Module> module;
  std::function<Tensor()> run;
  Tensor x;  // what it runs on
};

/// Every layer that keeps something, with an input.
std::vector<Layer> layers(bool differentiable = false) {
  Backend& cpu = backend("cpu");
  RandomSource random(3, cpu);
  const Placement place{cpu};
  const Tensor x = random.normal({2, 8, 8, 4}), w = random.normal({2, 6});
  if (differentiable) require_grad(x);
  std::vector<Layer> all;
  const auto add = [&](const std::string& name, const auto& module, std::function<Tensor()> run) {
    randomize(*module, random, 0.5);
    for (const Entry& entry : module->entries())  // variances among them
      if (entry.value.dtype() == DType::f32) entry.value.assign(random.uniform(entry.value.shape()) + 0.1);
    all.push_back({name, module, std::move(run), x});
  };
  auto norm = std::make_shared<BatchNorm>(place, 4);
  add("batch norm", norm, [=] { return (*norm)(x, {.slope = 0, .residual = x}); });
  auto conv = std::make_shared<Conv>(place, ConvShape{4, 5, 3, 1, 1}, true);
  add("conv", conv, [=] { return (*conv)(x); });
  auto he = std::make_shared<HeConv>(place, ConvShape{4, 5, 3, 1, 1});
  add("equalised conv", he, [=] { return (*he)(x); });
  auto up = std::make_shared<FusedUpsample>(place, 4, 5);
  add("fused upsampling", up, [=] { return (*up)(x); });
  using Kind = ModulatedConv::Kind;
  for (const Kind kind : {Kind::same, Kind::up}) {
    auto modulated = std::make_shared<ModulatedConv>(
        place, ModulatedConv::Options{.in = 4, .out = 5, .kernel = 3, .style = 6, .kind = kind});
    add(kind == Kind::up ? "modulated, up" : "modulated", modulated, [=] {
      const Tensor style = modulated->style(w);
      const ModulatedConv::Result y = modulated->on_scaled(scaled(x, style), style);
      return cast(y.unscaled, DType::f32) * y.demodulation;
    });
  }
  return all;
}

std::vector<float> numbers(const Tensor& x) { return cast(x, DType::f32).to_host<float>(); }

TEST(Fixed, IsFormedOnceWithTheSameBits) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    const PrecisionScope scope(precision);
    const NoGrad no_grad;
    for (const Layer& layer : layers()) {
      SCOPED_TRACE(text(layer.name, " in ", name_of(precision)));
      const std::vector<float> expected = numbers(layer.run());
      Counter fresh, first, second;
      FixedParameters fixed;
      const auto count = [&](Counter& counter, bool keep) {
        const Watching watching(counter);
        std::optional<FixedParameters::Use> use;
        if (keep) use.emplace(fixed);
        return layer.run();
      };
      EXPECT_EQ(numbers(count(fresh, false)), expected);
      EXPECT_EQ(numbers(count(first, true)), expected);
      EXPECT_EQ(numbers(count(second, true)), expected);
      const bool keeps = layer.name != "conv" || precision == Precision::bf16;
      EXPECT_EQ(fixed.size() > 0, keeps);
      EXPECT_EQ(second.all() < first.all(), keeps) << second.all() << " ops, the first time " << first.all();
      Counter after;
      EXPECT_EQ(numbers(count(after, false)), expected);
      EXPECT_EQ(after.ops, fresh.ops) << "out of use nothing is found";
    }
  }
}

// Where derivatives are recorded the parameters have a part in them.
TEST(Fixed, NothingIsKeptWhileOpsRecord) {
  for (const Layer& layer : layers()) {
    FixedParameters fixed;
    const FixedParameters::Use use(fixed);
    layer.module->set_trainable(true);
    std::vector<Tensor> parameters;
    for (const Entry& entry : layer.module->parameters()) parameters.push_back(entry.value);
    EXPECT_EQ(grad({sum(layer.run())}, parameters, {.allow_unused = true}).size(), parameters.size());
    EXPECT_EQ(fixed.size(), 0U) << layer.name;
  }
}

// In training: of what wants no gradient, once, while gradients go through it.
TEST(Fixed, WhatIsFrozenIsFormedOnceInTraining) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    const PrecisionScope scope(precision);
    for (const Layer& layer : layers(true)) {
      SCOPED_TRACE(text(layer.name, " in ", name_of(precision)));
      layer.module->set_trainable(false);
      const auto run = [&](Counter& counter) {
        const Watching watching(counter);
        return numbers(grad({sum(square(cast(layer.run(), DType::f32)))}, {layer.x})[0]);
      };
      Counter fresh, first, second;
      const std::vector<float> expected = run(fresh);
      FixedParameters fixed(FixedParameters::Which::frozen);
      const FixedParameters::Use use(fixed);
      EXPECT_EQ(run(first), expected);
      EXPECT_EQ(run(second), expected);
      const bool keeps = layer.name != "conv" || precision == Precision::bf16;
      EXPECT_EQ(fixed.size() > 0, keeps);
      EXPECT_EQ(second.all() < first.all(), keeps);
    }
  }
}

// Whatever trains is formed anew, with derivatives or without (as recompute() runs it first).
TEST(Fixed, WhatTrainsIsFormedAnew) {
  const PrecisionScope scope(Precision::bf16);
  RandomSource random(9, backend("cpu"));
  for (const Layer& layer : layers()) {
    SCOPED_TRACE(layer.name);
    FixedParameters fixed(FixedParameters::Which::frozen);
    const FixedParameters::Use use(fixed);
    layer.module->set_trainable(true);
    layer.run();
    const NoGrad no_grad;
    const std::vector<float> before = numbers(layer.run());
    for (const Entry& entry : layer.module->parameters())
      entry.value.assign(random.uniform(entry.value.shape()));
    EXPECT_NE(numbers(layer.run()), before);
    EXPECT_EQ(fixed.size(), 0U);
  }
  // of a batch norm the bias alone: its scale stays, its shift does not
  const BatchNorm norm({backend("cpu")}, 4);
  const Tensor x = Tensor::full({1, 2, 2, 4}, 3, DType::f32, backend("cpu"));
  for (const Entry& entry : norm.parameters())
    if (entry.name == "bias") require_grad(entry.value);
  FixedParameters fixed(FixedParameters::Which::frozen);
  const FixedParameters::Use use(fixed);
  const NoGrad no_grad;
  norm(x);
  EXPECT_EQ(fixed.size(), 1U);
  for (const Entry& entry : norm.parameters())
    if (entry.name == "bias") entry.value.fill(5);
  EXPECT_NEAR(numbers(norm(x))[0], 8, 1e-4);
}

}  // namespace
}  // namespace om
