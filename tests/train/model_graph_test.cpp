// Models as graphs: every layer once, and the gradient's way as grad() walks it.
#include "train/model_graph.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "autograd/grad.h"
#include "autograd/node.h"
#include "models/stylegan2.h"
#include "nn/initial.h"
#include "tensor/dry.h"
#include "tensor/registry.h"
#include "train/training_step.h"

namespace om::test {
namespace {

class ModelGraph : public testing::Test {
 protected:
  std::unique_ptr<Decoder> generator() {
    StyleGan2Config config;
    config.z_width = config.latent_width = 8;
    config.mapping_layers = 2;
    config.constant_channels = 6;
    config.channels = {6, 5, 4};
    return std::make_unique<StyleGan2>(config, Placement{*dry_});
  }
  Model model(bool with_encoder = true, bool with_generator = true) {
    Model made;
    made.decoder = generator();
    const EncoderConfig config = EncoderConfig::for_decoder(*made.decoder, Projection::wplus, 1);
    if (with_encoder) made.encoder = std::make_unique<Encoder>(config, Placement{*dry_});
    if (!with_generator) made.decoder.reset();
    return made;
  }
  static std::string name_of(const LayerBox& box) { return box.network + "/" + box.block + "/" + box.layer; }
  static const LayerBox& find(const LayerGraph& graph, const std::string& name) {
    const auto found = std::find_if(graph.boxes.begin(), graph.boxes.end(),
                                    [&](const LayerBox& box) { return name_of(box) == name; });
    if (found == graph.boxes.end()) throw std::runtime_error("no box " + name);
    return *found;
  }
  static bool has_edge(const LayerGraph& graph, const std::string& from, const std::string& to) {
    return std::any_of(graph.edges.begin(), graph.edges.end(), [&](const auto& edge) {
      return name_of(graph.boxes[edge.first]) == from && name_of(graph.boxes[edge.second]) == to;
    });
  }

  std::unique_ptr<Backend> dry_ = dry_backend(backend("cpu"));
};

TEST_F(ModelGraph, EveryLayerOnceWithItsShapes) {
  const LayerGraph graph = layer_graph(model(), *dry_);
  std::set<std::string> names;
  for (const LayerBox& box : graph.boxes) EXPECT_TRUE(names.insert(name_of(box)).second) << name_of(box);
  const LayerBox& conv = find(graph, "encoder/resnet_blocks.1/conv1");
  EXPECT_EQ(conv.ops, std::vector<std::string>{"conv2d"});
  EXPECT_EQ(conv.parameters, (std::vector<std::pair<std::string, Shape>>{{"weight", {5, 3, 3, 4}}}));
  EXPECT_EQ(conv.outputs, std::vector<Shape>({Shape{1, 8, 8, 5}}));
  EXPECT_TRUE(has_edge(graph, "encoder/resnet_blocks.1/conv1", "encoder/resnet_blocks.1/bn1"));
  EXPECT_TRUE(has_edge(graph, "encoder/resnet_blocks.1/bn1", "encoder/resnet_blocks.1/conv2"));
  EXPECT_TRUE(has_edge(graph, "/picture/", "encoder/start_block/conv1"));
  EXPECT_TRUE(has_edge(graph, "encoder/to_noise.0/", "decoder/convs.3/"));
  EXPECT_TRUE(has_edge(graph, "decoder/to_rgbs.0/", "decoder/to_rgbs.1/"));
  EXPECT_FALSE(has_edge(graph, "decoder/to_rgbs.1/", "decoder/to_rgbs.0/"));
  EXPECT_EQ(find(graph, "decoder/to_rgbs.1/").outputs, std::vector<Shape>({Shape{1, 16, 16, 3}}));
  // nothing of the model is missing but the mapping network, and the blocks that only files hold
  const Model again = model();
  std::map<std::string, std::size_t> drawn;
  for (const LayerBox& box : graph.boxes) drawn[box.network] += box.parameters.size();
  const auto used = [](const Module& network) {
    std::vector<Entry> entries = network.parameters();
    std::erase_if(entries, [](const Entry& entry) {
      return entry.name.starts_with("style.") || entry.name.starts_with("intermediate_block.") ||
             entry.name.starts_with("intermediate_to_noise.2.");
    });
    return entries.size();
  };
  EXPECT_EQ(drawn["encoder"], used(*again.encoder));
  EXPECT_EQ(drawn["decoder"], used(*again.decoder));
}

TEST_F(ModelGraph, HasNoCircles) {
  for (const bool derivative : {false, true}) {
    const LayerGraph graph = derivative ? derivative_graph(model(), *dry_) : layer_graph(model(), *dry_);
    std::vector<int> before(graph.boxes.size());
    for (const auto& edge : graph.edges) ++before[edge.second];
    std::vector<std::size_t> open;
    for (std::size_t i = 0; i < before.size(); ++i)
      if (before[i] == 0) open.push_back(i);
    std::size_t passed = 0;
    while (!open.empty()) {
      const std::size_t at = open.back();
      open.pop_back();
      ++passed;
      for (const auto& edge : graph.edges)
        if (edge.first == at && --before[edge.second] == 0) open.push_back(edge.second);
    }
    EXPECT_EQ(passed, graph.boxes.size());
  }
}

TEST_F(ModelGraph, TheGradientsWayIsThatOfATrainingStep) {
  const LayerGraph graph = derivative_graph(model(), *dry_);
  std::size_t drawn = 0, parameters = 0;
  for (const LayerBox& box : graph.boxes) {
    drawn += box.op_count;
    parameters += box.parameters.size();
    EXPECT_TRUE(box.network != "decoder" || box.parameters.empty()) << name_of(box);
  }
  // what a step records, walked from its loss
  Model whole = model();
  const Autoencoder pair(std::move(whole.encoder), std::move(whole.decoder));
  Adam adam(encoder_groups(pair.encoder(), {.main = 1e-3, .noise_heads = 1e-3}), AdamOptions{});
  prepare_training(pair, adam);
  const Tensor picture = Tensor::zeros({1, 16, 16, 3}, DType::f32, *dry_);
  const Losses losses = losses_of(pair(picture), picture, nullptr);
  std::set<const Node*> seen;
  std::vector<const Node*> open = {losses.loss.node().get()};
  std::size_t ops = 0, leaves = 0;
  while (!open.empty()) {
    const Node* node = open.back();
    open.pop_back();
    if (!seen.insert(node).second) continue;
    ++(std::string(node->op) == "leaf" ? leaves : ops);
    for (const auto& source : node->inputs)
      if (source) open.push_back(source.get());
  }
  EXPECT_EQ(drawn, ops);
  EXPECT_EQ(parameters, leaves);
  EXPECT_TRUE(has_edge(graph, "/loss/", "decoder/to_rgbs.1/"));
  EXPECT_TRUE(has_edge(graph, "encoder/resnet_blocks.1/bn1", "encoder/resnet_blocks.1/conv1"));
}

TEST_F(ModelGraph, OfNetworksAlone) {
  const LayerGraph generator = layer_graph(model(false), *dry_);
  EXPECT_TRUE(has_edge(generator, "decoder/style.1/", "decoder/style.2/"));
  EXPECT_TRUE(has_edge(generator, "/noise map 4/", "decoder/convs.3/"));
  const LayerGraph encoder = layer_graph(model(true, false), *dry_);
  EXPECT_TRUE(has_edge(encoder, "/picture/", "encoder/start_block/conv1"));
  EXPECT_THROW(derivative_graph(model(false), *dry_), InputError);
  EXPECT_THROW(derivative_graph(model(true, false), *dry_), InputError);
  EXPECT_THROW(layer_graph(Model(), *dry_), InputError);
}

TEST_F(ModelGraph, AsDotText) {
  const DotGraph drawing{"a <b> & \"c\"",
                         {{{"one", "1 < 2"}, {"net", "block"}}, {{"two"}, {"net"}}, {{"three"}, {}}},
                         {{0, 1}, {1, 2}}};
  const std::string dot = dot_text(drawing);
  for (const char* part :
       {"digraph onemodel {", "label=<a &lt;b&gt; &amp; &quot;c&quot;>",
        "n0 [label=<<B>one</B><BR/>1 &lt; 2>];", "label=<net>", "label=<block>", "n0 -> n1;", "n1 -> n2;"})
    EXPECT_NE(dot.find(part), std::string::npos) << part;
  EXPECT_EQ(std::count(dot.begin(), dot.end(), '{'), std::count(dot.begin(), dot.end(), '}'));
  EXPECT_THROW(expect_graph_ending("x.png"), UsageError);
}

}  // namespace
}  // namespace om::test
