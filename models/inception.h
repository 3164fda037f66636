// Inception v3 (Szegedy et al. 2016, "Rethinking the Inception architecture") as pytorch-fid has it, whose
// pooled features the Fréchet Inception distance compares (Heusel et al. 2017). Names as in its published
// state dict; `fc` is unused.
//
// It is the network that TensorFlow's FID used, so it differs from torchvision's in three ways: average pools
// do not count their padding, the last block pools by maximum, and the image is resized to 299 x 299 by plain
// bilinear interpolation.
//
//   image in [0, 1] -> 299 x 299 -> 2x - 1 -> stem -> Mixed_5b .. Mixed_7c -> mean over space
#pragma once

#include "models/decoder.h"

namespace om {

class Inception : public Module {
 public:
  /// A tensor that every such file has and nothing else.
  static constexpr const char* kMark = "Conv2d_1a_3x3.conv.weight";

  /// Channel counts are read off the shapes. InputError naming the tensor that is missing or does not fit, or
  /// where the weights are torchvision's own (AuxLogits), which give other distances.
  Inception(const FileShapes& shapes, const Placement& place);
  ~Inception() override;

  /// Features per image: 2,048 for the published weights.
  std::int64_t features() const;

  /// image [N, H, W, 3], any size -> [N, features()].
  Tensor operator()(const Tensor& image) const { return stages(image).back(); }
  /// The outputs of the first three of pytorch-fid's blocks (after the two max pools of the stem and after
  /// Mixed_6e), then the features.
  std::vector<Tensor> stages(const Tensor& image) const;

 private:
  class Unit;
  class Mixed;

  List<Unit> stem_;
  List<Mixed> mixed_;
};

}  // namespace om
