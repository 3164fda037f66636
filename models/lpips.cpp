#include "models/lpips.h"

#include <set>

#include "autograd/fused.h"
#include "autograd/ops.h"
#include "nn/recompute.h"

namespace om {
namespace {

/// One layer of torchvision's `features`: a convolution with the relu after it, a fire module, or a pooling.
struct Layer {
  int index;
  enum class Kind : std::uint8_t { conv, fire, pool } kind;
  std::int64_t stride = 1, pad = 0;
};

struct Net {
  const char* name;
  std::vector<Layer> layers;
  Pool2d pool;
  std::set<int> taps;  ///< indices of the convolutions or fire modules whose (rectified) output is compared
};

const std::vector<Net>& nets() {
  using K = Layer::Kind;
  static const std::vector<Net> table = {
      {"vgg",
       {{0, K::conv, 1, 1},
        {2, K::conv, 1, 1},
        {4, K::pool},
        {5, K::conv, 1, 1},
        {7, K::conv, 1, 1},
        {9, K::pool},
        {10, K::conv, 1, 1},
        {12, K::conv, 1, 1},
        {14, K::conv, 1, 1},
        {16, K::pool},
        {17, K::conv, 1, 1},
        {19, K::conv, 1, 1},
        {21, K::conv, 1, 1},
        {23, K::pool},
        {24, K::conv, 1, 1},
        {26, K::conv, 1, 1},
        {28, K::conv, 1, 1}},
       {2, 2, 0, false},
       {2, 7, 14, 21, 28}},
      {"alex",
       {{0, K::conv, 4, 2},
        {2, K::pool},
        {3, K::conv, 1, 2},
        {5, K::pool},
        {6, K::conv, 1, 1},
        {8, K::conv, 1, 1},
        {10, K::conv, 1, 1}},
       {3, 2, 0, false},
       {0, 3, 6, 8, 10}},
      {"squeeze",
       {{0, K::conv, 2, 0},
        {2, K::pool},
        {3, K::fire},
        {4, K::fire},
        {5, K::pool},
        {6, K::fire},
        {7, K::fire},
        {8, K::pool},
        {9, K::fire},
        {10, K::fire},
        {11, K::fire},
        {12, K::fire}},
       {3, 2, 0, true},
       {0, 4, 7, 9, 10, 11, 12}},
  };
  return table;
}

std::string weight_name(const Layer& layer) {
  return text("features.", layer.index, layer.kind == Layer::Kind::fire ? ".squeeze.weight" : ".weight");
}

const Net& recognise(const FileShapes& shapes) {
  for (const Net& net : nets()) {
    bool fits = true;
    std::size_t named = 0;
    for (const Layer& layer : net.layers) {
      if (layer.kind == Layer::Kind::pool) continue;
      fits = fits && shapes.contains(weight_name(layer));
      ++named;
    }
    std::size_t convolutions = 0;
    for (const auto& [name, shape] : shapes)
      convolutions +=
          name.starts_with("features.") && shape.rank() == 4 && name.find("expand") == std::string::npos;
    if (fits && convolutions == named) return net;
  }
  fail<InputError>("LPIPS: the backbone is none of VGG16, AlexNet and SqueezeNet 1.1");
}

const Net& find(const std::string& name) {
  for (const Net& net : nets())
    if (name == net.name) return net;
  fail("LPIPS: no backbone ", name);
}

std::unique_ptr<Conv> conv_of(const FileShapes& shapes, const std::string& name, std::int64_t stride,
                              std::int64_t pad, const Placement& place) {
  const Shape w = require_shape(shapes, "LPIPS", name + ".weight", 4);
  return std::make_unique<Conv>(place, ConvShape{w[1], w[0], w[2], stride, pad}, true);
}

}  // namespace

Lpips::Fire::Fire(const Placement& place, const FileShapes& shapes, const std::string& name)
    : squeeze_(conv_of(shapes, name + ".squeeze", 1, 0, place)),
      expand1x1_(conv_of(shapes, name + ".expand1x1", 1, 0, place)),
      expand3x3_(conv_of(shapes, name + ".expand3x3", 1, 1, place)) {
  child("squeeze", *squeeze_);
  child("expand1x1", *expand1x1_);
  child("expand3x3", *expand3x3_);
}

Tensor Lpips::Fire::operator()(const Tensor& x) const {
  const Tensor squeezed = (*squeeze_)(x, 0);
  return concat({(*expand1x1_)(squeezed, 0), (*expand3x3_)(squeezed, 0)}, 3);
}

Lpips::Backbone::Backbone(const std::string& net_name, const FileShapes& shapes, const Placement& place) {
  const Net& net = find(net_name);
  std::int64_t width = 3;
  for (const Layer& layer : net.layers) {
    const std::string name = text("features.", layer.index);
    Step step{nullptr, nullptr, net.pool, Step::Kind::pool, net.taps.contains(layer.index)};
    if (layer.kind == Layer::Kind::conv) {
      step.kind = Step::Kind::conv_relu;
      step.conv = conv_of(shapes, name, layer.stride, layer.pad, place);
      width = shapes.at(name + ".weight")[0];
      child(name, *step.conv);
    } else if (layer.kind == Layer::Kind::fire) {
      step.kind = Step::Kind::fire;
      step.fire = std::make_unique<Fire>(place, shapes, name);
      width = shapes.at(name + ".expand1x1.weight")[0] + shapes.at(name + ".expand3x3.weight")[0];
      child(name, *step.fire);
    }
    if (step.tap) widths.push_back(width);
    steps_.push_back(std::move(step));
  }
}

std::vector<Tensor> Lpips::Backbone::operator()(const Tensor& image) const {
  std::vector<Tensor> features;
  Tensor x = image;
  for (std::size_t first = 0; first < steps_.size();) {  // from tap to tap
    std::size_t end = first;
    while (end < steps_.size() && !steps_[end++].tap) {
    }
    std::vector<const Module*> modules;
    for (std::size_t i = first; i < end; ++i) {
      if (steps_[i].conv) modules.push_back(steps_[i].conv.get());
      if (steps_[i].fire) modules.push_back(steps_[i].fire.get());
    }
    x = recompute(modules, {x}, [this, first, end](const std::vector<Tensor>& in) {
      Tensor y = in[0];
      for (std::size_t i = first; i < end; ++i) y = run(steps_[i], y);
      return y;
    });
    if (steps_[end - 1].tap) features.push_back(x);
    first = end;
  }
  return features;
}

Tensor Lpips::Backbone::run(const Step& step, const Tensor& x) {
  switch (step.kind) {
    case Step::Kind::conv_relu: return (*step.conv)(x, 0);
    case Step::Kind::fire: return (*step.fire)(x);
    case Step::Kind::pool: return max_pool2d(x, step.pool);
  }
  return x;
}

Lpips::Heads::Heads(const FileShapes& shapes, const Placement& place) {
  for (int i = 0; shapes.contains(text("lin", i, ".model.1.weight")); ++i) {
    const std::string name = text("lin", i, ".model.1.weight");
    const Shape& shape = shapes.at(name);
    if (shape.rank() != 4) fail<LpipsHeadsError>("LPIPS heads: ", name, " expects 4 dimensions, got ", shape);
    weights.push_back(parameter(name, place.zeros({shape[0], 1, 1, shape[1]}), layouts::conv));
  }
}

Lpips::Lpips(const FileShapes& backbone, const FileShapes& heads, const Placement& place)
    : net_(recognise(backbone).name), backbone_(net_, backbone, place), heads_(heads, place) {
  const std::vector<std::int64_t>& widths = backbone_.widths;
  if (heads_.weights.size() != widths.size())
    fail<LpipsHeadsError>("LPIPS: a ", net_, " backbone wants ", widths.size(), " heads (lin0 ..), got ",
                          heads_.weights.size());
  for (std::size_t i = 0; i < widths.size(); ++i)
    if (const Tensor& head = heads_.weights[i]; head.size(0) != 1 || head.size(3) != widths[i])
      fail<LpipsHeadsError>("LPIPS heads: lin", i, ".model.1.weight expects ", widths[i], " channels for a ",
                            net_, " backbone, got ", head.size(3));
  child("backbone", backbone_);
  child("heads", heads_);
  const auto row = [&](const std::vector<double>& values) {
    return Tensor::from_numbers(values, {1, 1, 1, 3}, place.dtype, place.backend);
  };
  shift_ = row({-.030, -.088, -.188});
  inverse_scale_ = row({1 / .458, 1 / .448, 1 / .450});
}

Tensor Lpips::per_layer(const Tensor& a, const Tensor& b) const {
  if (a.shape() != b.shape()) fail("LPIPS: images differ in shape, ", a.shape(), " and ", b.shape());
  const auto features = [&](const Tensor& image) { return backbone_((image - shift_) * inverse_scale_); };
  const std::vector<Tensor> of_a = features(a), of_b = features(b);
  std::vector<Tensor> distances;
  for (std::size_t i = 0; i < of_a.size(); ++i) {
    const Tensor weights = reshape(heads_.weights[i], {of_a[i].size(3)});
    distances.push_back(reshape(feature_distance(of_a[i], of_b[i], weights), {a.size(0), 1}));
  }
  return concat(distances, 1);
}

Tensor Lpips::operator()(const Tensor& a, const Tensor& b) const {
  const Tensor layers = per_layer(a, b);
  return reshape(sum(layers, {1}), {layers.size(0)});
}

}  // namespace om
