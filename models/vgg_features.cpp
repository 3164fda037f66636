#include "models/vgg_features.h"

#include <array>

#include "autograd/ops.h"

namespace om {
namespace {

constexpr std::int64_t kLargestSide = 256;

/// A convolution of torchvision's `features`; the pooling before it and the tap after it.
struct Layer {
  int index;
  bool pool, tap;
};
constexpr std::array<Layer, 9> kLayers = {{{0, false, true},
                                           {2, false, true},
                                           {5, true, false},
                                           {7, false, false},
                                           {10, true, false},
                                           {12, false, true},
                                           {14, false, false},
                                           {17, true, false},
                                           {19, false, true}}};

/// The mean of each square of factor x factor pixels.
Tensor averaged_down(const Tensor& x, std::int64_t factor) {
  const double weight = 1.0 / static_cast<double>(factor * factor);
  UpFirDnParams params;
  params.down_h = params.down_w = factor;
  return upfirdn2d(x, Tensor::full({factor, factor}, weight, x.dtype(), x.backend()), params);
}

}  // namespace

VggFeatures::VggFeatures(const FileShapes& shapes, const Placement& place) {
  for (const Layer& layer : kLayers) {
    const std::string name = text("features.", layer.index);
    const Shape w = require_shape(shapes, "VGG16", name + ".weight", 4);
    convs_.push_back(std::make_unique<Conv>(place, ConvShape{w[1], w[0], w[2], 1, 1}, true));
    child(name, *convs_.back());
  }
  // ((x + 1) / 2 - mean) / deviation
  constexpr std::array kMean = {0.485, 0.456, 0.406}, kDeviation = {0.229, 0.224, 0.225};
  std::vector<float> scale, shift;
  for (std::size_t c = 0; c < kMean.size(); ++c) {
    scale.push_back(static_cast<float>(0.5 / kDeviation[c]));
    shift.push_back(static_cast<float>((0.5 - kMean[c]) / kDeviation[c]));
  }
  scale_ = Tensor::from_host(scale, {1, 1, 1, 3}, place.backend);
  shift_ = Tensor::from_host(shift, {1, 1, 1, 3}, place.backend);
}

std::vector<Tensor> VggFeatures::operator()(const Tensor& image) const {
  Tensor x = image;
  if (const std::int64_t side = image.size(1); side > kLargestSide) {
    if (side % kLargestSide != 0 || image.size(2) != side)
      fail("VGG16 features: expects ", kLargestSide, " pixels or a multiple, got ", image.shape());
    x = averaged_down(x, side / kLargestSide);
  }
  x = x * scale_ + shift_;
  std::vector<Tensor> features;
  for (std::size_t i = 0; i < kLayers.size(); ++i) {
    if (kLayers[i].pool) x = max_pool2d(x, {2, 2, 0, false});
    x = (*convs_[i])(x, 0);
    if (kLayers[i].tap) features.push_back(x);
  }
  return features;
}

}  // namespace om
