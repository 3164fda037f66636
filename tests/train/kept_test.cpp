// What the graph of a training step keeps when the encoder alone trains: no image that a rule would not read.
#include <gtest/gtest.h>

#include <iostream>
#include <set>
#include <utility>

#include "autograd/grad.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "autograd/record.h"
#include "io/model_file.h"
#include "nn/losses.h"
#include "tensor/registry.h"
#include "tests/train/tiny_run.h"
#include "train/stage.h"
#include "train/start.h"

namespace om {
namespace {

constexpr std::int64_t kImage = 1024;  // elements: coefficients and weights here have fewer

std::vector<Node*> nodes_of(const Tensor& loss) {
  std::vector<Node*> found = {loss.node().get()};
  std::set<Node*> seen(found.begin(), found.end());
  for (std::size_t i = 0; i < found.size(); ++i)
    for (const auto& input : found[i]->inputs)
      if (input && seen.insert(input.get()).second) found.push_back(input.get());
  return found;
}

/// Noise maps, of one channel, are small and no operand that every rule asks for by name.
bool is_image(const Kept& kept) {
  return kept.tensor.defined() && kept.tensor.elements() >= kImage && kept.tensor.size(-1) > 1;
}

/// Whether the rule runs through without what is missing in the node.
bool runs(const Node& node, const Tensor& g) {
  std::vector<bool> needed;
  for (const auto& input : node.inputs) needed.push_back(input != nullptr);
  const Recording recording(true);  // fused ops take their rule in ops, which asks for each operand by name
  try {
    node.rule(Saved(node, needed), g);
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("that it did not keep"), std::string::npos) << error.what();
    return false;
  }
  return true;
}

TEST(KeptImages, AreThoseThatTheEncodersGradientReads) {
  test::TinyRun tiny;
  tiny.add_lpips();
  Backend& cpu = backend("cpu");
  RandomSource random(1, cpu);
  const auto model = make_model(tiny.config, random, cpu);
  const auto lpips = load_lpips(tiny.config.lpips, tiny.config.lpips_heads, cpu);
  lpips->set_trainable(false);
  Training training(*model, lpips.get(), stage_recipe(tiny.config, 1), random);
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    const PrecisionScope scope(precision);
    const Tensor images = random.uniform({16, 16, 16, 3});
    const Tensor output = (*model)(images);
    const Tensor loss = sum_of_mse(output, images) + sum((*lpips)(output, images));
    std::size_t checked = 0;
    std::set<const void*> arrays;
    for (Node* node : nodes_of(loss)) {
      if (!node->rule) continue;
      const Tensor g = random.normal(node->shape, node->dtype);
      std::vector<Kept*> all = {&node->kept_output};
      for (Kept& kept : node->kept_inputs) all.push_back(&kept);
      for (Kept* kept : all) {
        if (!is_image(*kept)) continue;
        arrays.insert(kept->tensor.storage().get());
        const Kept before = std::exchange(*kept, {});
        EXPECT_FALSE(runs(*node, g)) << node->op << " keeps " << before.tensor.shape() << " for nothing";
        *kept = before;
        ++checked;
      }
    }
    std::cout << "  " << name_of(precision) << ": " << checked << " kept images in " << arrays.size()
              << " arrays\n";
    EXPECT_GT(checked, 20U);
  }
}

}  // namespace
}  // namespace om
