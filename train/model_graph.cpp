#include "train/model_graph.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "autograd/grad.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "train/training_step.h"

namespace om {
namespace {

/// A parameter's layer and its name in it.
struct Leaf {
  std::string path, name;
};

/// A pass whose every op was recorded.
struct Trace {
  std::map<const Node*, Leaf> leaves;        // parameters
  std::map<const Node*, std::string> given;  // inputs
  std::vector<Tensor> results;
  std::uint64_t loss_from = ~std::uint64_t{0};  // nodes from this order on are the loss
};

void add_parameters(const std::string& network, const Module& module, Trace& trace) {
  for (const Entry& entry : module.parameters()) {
    const std::size_t dot = entry.name.rfind('.');
    const std::string layer = dot == std::string::npos ? "" : "." + entry.name.substr(0, dot);
    trace.leaves[entry.value.node().get()] = {network + layer,
                                              entry.name.substr(dot == std::string::npos ? 0 : dot + 1)};
  }
}

Tensor input(const Shape& shape, const std::string& name, Backend& backend, Trace& trace) {
  Tensor x = require_grad(Tensor::zeros(shape, DType::f32, backend));
  trace.given[x.node().get()] = name;
  return x;
}

std::vector<Tensor> noise_inputs(const Decoder& decoder, Backend& backend, Trace& trace) {
  std::vector<Tensor> maps;
  for (const std::int64_t side : decoder.noise_sizes())
    maps.push_back(input({1, side, side, 1}, text("noise map ", maps.size()), backend, trace));
  return maps;
}

Trace trace_decoder(const Decoder& decoder, Backend& backend) {
  Trace trace;
  add_parameters("decoder", decoder, trace);
  const Tensor w = decoder.map(input({1, decoder.z_width()}, "z", backend, trace));
  trace.results = {decoder.synthesize(w.rank() == 2 ? repeat_latent(w, decoder.latents()) : w,
                                      noise_inputs(decoder, backend, trace))};
  return trace;
}

Trace trace_encoder(const std::string& name, const Encoder& encoder, Backend& backend) {
  Trace trace;
  add_parameters(name, encoder, trace);
  const std::int64_t side = encoder.config().size();
  const Code code = encoder(input({1, side, side, 3}, "picture", backend, trace));
  trace.results = code.noise;
  if (code.latent.defined()) trace.results.push_back(code.latent);
  return trace;
}

Trace trace_model(const Autoencoder& model, bool with_loss, Backend& backend) {
  Trace trace;
  for (const Autoencoder::Part& part : model.encoders()) add_parameters(part.name, *part.encoder, trace);
  add_parameters("decoder", model.decoder(), trace);
  const std::int64_t side = model.decoder().size();
  const Tensor picture = input({1, side, side, 3}, "picture", backend, trace);
  const Tensor made =
      model.predicts_noise() ? model(picture) : model(picture, noise_inputs(model.decoder(), backend, trace));
  trace.results = {made};
  if (!with_loss) return trace;
  trace.results = {losses_of(made, Tensor::zeros(picture.shape(), DType::f32, backend), nullptr).loss};
  trace.loss_from = made.node()->order + 1;
  return trace;
}

/// The first parts of a dotted path that both have.
std::string common(const std::string& a, const std::string& b) {
  std::size_t end = 0;
  for (std::size_t i = 0;; ++i) {
    const bool a_ends = i == a.size() || a[i] == '.', b_ends = i == b.size() || b[i] == '.';
    if (a_ends && b_ends) end = i;
    if (i >= a.size() || i >= b.size() || a[i] != b[i]) return a.substr(0, end);
  }
}

bool is_number(const std::string& word) {
  return !word.empty() && word.find_first_not_of("0123456789") == std::string::npos;
}

/// "encoder.resnet_blocks.3.conv1" as network, block and layer.
struct Place {
  std::string network, block, layer;
};

Place place_of(const std::string& path) {
  std::vector<std::string> words(1);
  for (const char c : path) {
    if (c == '.') {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  Place place{words[0], "", ""};
  std::size_t at = 1;
  if (at < words.size()) place.block = words[at++];
  if (at < words.size() && is_number(words[at])) place.block += "." + words[at++];
  for (; at < words.size(); ++at) place.layer += (place.layer.empty() ? "" : ".") + words[at];
  return place;
}

std::string block_path(const std::string& path) {
  const Place place = place_of(path);
  return place.network + (place.block.empty() ? "" : "." + place.block);
}

/// Sorts a trace's nodes into layers.
class Layers {
 public:
  explicit Layers(const Trace& trace) : trace_(trace) {
    collect();
    for (const Node* node : nodes_) note(node);
    for (const Node* node : nodes_) assign(node);
    for (auto node = nodes_.rbegin(); node != nodes_.rend(); ++node) assign_by_follower(*node);
    for (const Node* node : nodes_) assign_the_rest(node);
  }

  /// The nodes that depend on the pass's inputs: those that are drawn, by order.
  const std::vector<const Node*>& drawn() const { return drawn_; }
  const std::string& path(const Node* node) const { return paths_.at(node); }
  /// Follows from parameters alone.
  bool is_made_of_parameters(const Node* node) const { return made_of_.contains(node); }
  /// Depends on a parameter of an encoder.
  bool is_trained(const Node* node) const { return trained_.contains(node); }

 private:
  void collect() {
    std::set<const Node*> seen;
    std::vector<const Node*> open;
    for (const Tensor& result : trace_.results) open.push_back(result.node().get());
    while (!open.empty()) {
      const Node* node = open.back();
      open.pop_back();
      if (!seen.insert(node).second) continue;
      nodes_.push_back(node);
      for (const auto& source : node->inputs)
        if (source) open.push_back(source.get());
    }
    std::sort(nodes_.begin(), nodes_.end(), [](const Node* a, const Node* b) { return a->order < b->order; });
  }

  void note(const Node* node) {
    const auto leaf = trace_.leaves.find(node);
    if (leaf != trace_.leaves.end()) {
      made_of_[node] = leaf->second.path;
      if (!leaf->second.path.starts_with("decoder")) trained_.insert(node);
      return;
    }
    bool has_data = trace_.given.contains(node);
    std::optional<std::string> made_of;
    for (const auto& source : node->inputs) {
      if (!source) continue;
      if (data_.contains(source.get())) has_data = true;
      if (trained_.contains(source.get())) trained_.insert(node);
      if (const auto found = made_of_.find(source.get()); found != made_of_.end())
        made_of = made_of ? common(*made_of, found->second) : found->second;
    }
    // A constant input that is learnt (StyleGAN's 4x4) is where data begin, too.
    if (!has_data && made_of) {
      made_of_[node] = *made_of;
      return;
    }
    data_.insert(node);
    drawn_.push_back(node);
    for (const auto& source : node->inputs)
      if (source && data_.contains(source.get())) followers_[source.get()].insert(node);
  }

  std::vector<const Node*> sources(const Node* node) const {
    std::vector<const Node*> found;
    for (const auto& source : node->inputs)
      if (source && data_.contains(source.get()) &&
          std::find(found.begin(), found.end(), source.get()) == found.end())
        found.push_back(source.get());
    return found;
  }

  /// By its parameters, or as the only follower of one.
  void assign(const Node* node) {
    if (!data_.contains(node)) return;
    if (node->order >= trace_.loss_from) {
      paths_[node] = "loss";
      return;
    }
    if (const auto given = trace_.given.find(node); given != trace_.given.end()) {
      paths_[node] = given->second;
      return;
    }
    std::optional<std::string> own;
    for (const auto& source : node->inputs)
      if (const auto found = source ? made_of_.find(source.get()) : made_of_.end(); found != made_of_.end())
        own = own ? common(*own, found->second) : found->second;
    if (own) {
      paths_[node] = *own;
      return;
    }
    const std::vector<const Node*> before = sources(node);
    if (before.size() != 1 || followers_[before[0]].size() != 1 || trace_.given.contains(before[0])) return;
    if (const auto found = paths_.find(before[0]); found != paths_.end()) paths_[node] = found->second;
  }

  void assign_by_follower(const Node* node) {
    if (!data_.contains(node) || paths_.contains(node)) return;
    const auto& after = followers_[node];
    if (after.size() != 1) return;
    if (const auto found = paths_.find(*after.begin()); found != paths_.end() && found->second != "loss")
      paths_[node] = found->second;
  }

  /// Where several come together: the block that they have in common, else a box of its own.
  void assign_the_rest(const Node* node) {
    if (!data_.contains(node) || paths_.contains(node)) return;
    std::optional<std::string> shared;
    for (const Node* source : sources(node))
      shared = shared ? common(*shared, paths_.at(source)) : paths_.at(source);
    const Place place = place_of(shared.value_or(""));
    const bool in_a_block = !place.block.empty();
    paths_[node] =
        in_a_block ? block_path(*shared) : place.network + (place.network.empty() ? "" : ".") + node->op;
  }

  const Trace& trace_;
  std::vector<const Node*> nodes_, drawn_;
  std::set<const Node*> data_, trained_;
  std::map<const Node*, std::string> made_of_;  // of parameters alone: their layer
  std::map<const Node*, std::set<const Node*>> followers_;
  std::map<const Node*, std::string> paths_;
};

template <class T>
void add_once(std::vector<T>& list, const T& item) {
  if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
}

/// Draws what was sorted; for the derivative, what depends on an encoder's parameters, against its way.
class Drawing {
 public:
  Drawing(const Trace& trace, bool derivative) : trace_(trace), layers_(trace), derivative_(derivative) {
    for (const Node* node : layers_.drawn())
      if (is_shown(node)) draw(node);
    for (const Tensor& result : trace.results)
      if (const Node* node = result.node().get(); is_shown(node))
        add_once(graph_.boxes[box_of(node)].outputs, node->shape);
    for (LayerBox& box : graph_.boxes)
      std::sort(box.parameters.begin(), box.parameters.end(),
                [](const auto& a, const auto& b) { return a.first < b.first; });
  }
  LayerGraph result() { return std::move(graph_); }

 private:
  bool is_shown(const Node* node) const { return !derivative_ || layers_.is_trained(node); }

  bool is_network(const std::string& name) const {
    return std::any_of(trace_.leaves.begin(), trace_.leaves.end(), [&](const auto& leaf) {
      return leaf.second.path == name || leaf.second.path.starts_with(name + ".");
    });
  }

  std::size_t box_of(const Node* node) {
    const std::string& path = layers_.path(node);
    const auto [found, is_new] = places_.try_emplace(path, graph_.boxes.size());
    if (!is_new) return found->second;
    const Place place = place_of(path);
    graph_.boxes.emplace_back();
    LayerBox& box = graph_.boxes.back();
    box.block = path;
    if (is_network(place.network)) {
      box.network = place.network;
      box.block = place.block;
      box.layer = place.layer;
    }
    return found->second;
  }

  void draw(const Node* node) {
    const std::size_t to = box_of(node);
    if (!trace_.given.contains(node)) {
      add_once(graph_.boxes[to].ops, std::string(node->op));
      ++graph_.boxes[to].op_count;
    }
    for (const auto& source : node->inputs) {
      if (!source || !is_shown(source.get())) continue;
      if (layers_.is_made_of_parameters(source.get())) {
        add_parameters(source.get(), layers_.path(node), to);
        continue;
      }
      const std::size_t from = box_of(source.get());
      if (from == to) continue;
      add_once(graph_.boxes[from].outputs, source->shape);
      if (edges_.emplace(from, to).second)
        graph_.edges.push_back(derivative_ ? std::pair(to, from) : std::pair(from, to));
    }
  }

  /// The parameters that a node is made of, named within the layer; the ops in between count to it.
  void add_parameters(const Node* node, const std::string& path, std::size_t box) {
    if (!is_shown(node) || !met_.insert(node).second) return;
    if (const auto leaf = trace_.leaves.find(node); leaf != trace_.leaves.end()) {
      const std::string whole = leaf->second.path + "." + leaf->second.name;
      const bool within = whole.starts_with(path + ".");
      graph_.boxes[box].parameters.emplace_back(within ? whole.substr(path.size() + 1) : whole, node->shape);
      return;
    }
    ++graph_.boxes[box].op_count;
    for (const auto& source : node->inputs)
      if (source) add_parameters(source.get(), path, box);
  }

  const Trace& trace_;
  const Layers layers_;
  bool derivative_;
  LayerGraph graph_;
  std::map<std::string, std::size_t> places_;
  std::set<std::pair<std::size_t, std::size_t>> edges_;
  std::set<const Node*> met_;  // of what follows from parameters
};

LayerGraph graph_of(const Trace& trace, bool derivative) { return Drawing(trace, derivative).result(); }

/// Ops of a whole network record, and the encoders run as in training.
void make_trainable(Module& module, bool training) {
  module.set_trainable(true);
  module.set_training(training);
}

Autoencoder joined(Model& model) {
  return {std::move(model.encoder), std::move(model.decoder), std::move(model.noise_encoder)};
}

}  // namespace

LayerGraph layer_graph(Model model, Backend& backend) {
  if (model.encoder) make_trainable(*model.encoder, true);
  if (model.noise_encoder) make_trainable(*model.noise_encoder, true);
  if (model.decoder) make_trainable(*model.decoder, false);
  if (model.encoder && model.decoder && model.encoder->config().latent_heads) {
    const Autoencoder whole = joined(model);
    return graph_of(trace_model(whole, false, backend), false);
  }
  if (model.encoder) return graph_of(trace_encoder("encoder", *model.encoder, backend), false);
  if (model.decoder) return graph_of(trace_decoder(*model.decoder, backend), false);
  fail<InputError>("holds neither an encoder nor a generator");
}

LayerGraph derivative_graph(Model model, Backend& backend) {
  if (!model.encoder || !model.decoder) fail<InputError>("a training step needs an encoder and a generator");
  if (!model.encoder->config().latent_heads) fail<InputError>("the encoder predicts no latents, only noise");
  make_trainable(*model.encoder, true);
  if (model.noise_encoder) make_trainable(*model.noise_encoder, true);
  make_trainable(*model.decoder, false);
  const Autoencoder whole = joined(model);
  return graph_of(trace_model(whole, true, backend), true);
}

DotGraph drawing_of(const LayerGraph& graph, const std::string& title) {
  DotGraph drawing{title, {}, graph.edges};
  std::map<std::pair<std::string, std::string>, int> boxes_of_block;
  for (const LayerBox& box : graph.boxes) ++boxes_of_block[{box.network, box.block}];
  for (const LayerBox& box : graph.boxes) {
    DotBox drawn;
    drawn.lines.push_back(!box.layer.empty() ? box.layer : box.block.empty() ? box.network : box.block);
    std::string ops;
    for (const std::string& op : box.ops) ops += (ops.empty() ? "" : ", ") + op;
    if (!ops.empty()) drawn.lines.push_back(ops);
    for (const auto& [name, shape] : box.parameters) drawn.lines.push_back(text(name, " ", shape));
    std::string outputs;
    for (const Shape& shape : box.outputs) outputs += text(outputs.empty() ? "→ " : ", ", shape);
    if (!outputs.empty()) drawn.lines.push_back(outputs);
    if (!box.network.empty()) drawn.groups.push_back(box.network);
    if (!box.network.empty() && boxes_of_block[{box.network, box.block}] > 1)
      drawn.groups.push_back(box.block);
    drawing.boxes.push_back(std::move(drawn));
  }
  return drawing;
}

}  // namespace om
