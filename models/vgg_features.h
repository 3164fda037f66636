// The four feature maps of VGG16 that Image2StyleGAN compares (Abdal et al. 2019, section 4): conv1_1,
// conv1_2, conv3_2 and conv4_2, after their relus, with torchvision's names (features.0 .. features.19).
#pragma once

#include "models/decoder.h"
#include "nn/conv.h"

namespace om {

class VggFeatures : public Module {
 public:
  /// Channel counts are read off the shapes of torchvision's vgg16. InputError where they do not fit.
  VggFeatures(const FileShapes& shapes, const Placement& place);

  /// image [N, S, S, 3] in [-1, 1], normalised as torchvision's and, above 256 pixels, averaged down to them
  /// -> conv1_1 and conv1_2 [N, s, s, .], conv3_2 [N, s/4, s/4, .], conv4_2 [N, s/8, s/8, .], s = min(S,
  /// 256). Error where S is larger than 256 and no multiple of it.
  std::vector<Tensor> operator()(const Tensor& image) const;

 private:
  List<Conv> convs_;
  Tensor scale_, shift_;
};

}  // namespace om
