// LPIPS 0.1 (Zhang et al. 2018, "The unreasonable effectiveness of deep features as a perceptual metric") on
// VGG16, AlexNet or SqueezeNet 1.1: the distance of two images as a weighted squared difference of
// unit-normalised features.
//
//   d(a, b) = sum over layers of mean over space of sum over channels of w_c (f_c(a) - f_c(b))^2
//
// Names: torchvision's for the backbone (features.0.weight), the lpips package's for the heads
// (lin0.model.1.weight).
#pragma once

#include "models/decoder.h"
#include "nn/conv.h"

namespace om {

/// What is wrong with the heads alone, or with them beside their backbone.
class LpipsHeadsError : public InputError {
 public:
  using InputError::InputError;
};

class Lpips : public Module {
 public:
  /// The backbone is recognised by its layers, channel counts are read off the shapes. InputError where they
  /// fit none; LpipsHeadsError where the heads are at fault.
  Lpips(const FileShapes& backbone, const FileShapes& heads, const Placement& place);

  /// "vgg", "alex" or "squeeze".
  const std::string& net() const { return net_; }

  /// a, b [N, H, W, 3] in [-1, 1] -> one distance per image and layer [N, layers].
  Tensor per_layer(const Tensor& a, const Tensor& b) const;
  /// The sum over layers, [N].
  Tensor operator()(const Tensor& a, const Tensor& b) const;

  /// The two parts, whose entries are named as in their files.
  const Module& backbone() const { return backbone_; }
  const Module& heads() const { return heads_; }

 private:
  /// SqueezeNet's module: a 1x1 squeeze, then 1x1 and 3x3 expansions side by side.
  class Fire : public Module {
   public:
    Fire(const Placement& place, const FileShapes& shapes, const std::string& name);
    Tensor operator()(const Tensor& x) const;

   private:
    std::unique_ptr<Conv> squeeze_, expand1x1_, expand3x3_;
  };

  class Backbone : public Module {
   public:
    Backbone(const std::string& net, const FileShapes& shapes, const Placement& place);
    /// The features after each tapped layer.
    std::vector<Tensor> operator()(const Tensor& image) const;
    std::vector<std::int64_t> widths;  ///< channels of each of them

   private:
    struct Step {
      std::unique_ptr<Conv> conv;
      std::unique_ptr<Fire> fire;
      Pool2d pool;
      enum class Kind : std::uint8_t { conv_relu, fire, pool } kind;
      bool tap;
    };
    static Tensor run(const Step& step, const Tensor& x);
    std::vector<Step> steps_;
  };

  class Heads : public Module {
   public:
    Heads(const FileShapes& shapes, const Placement& place);
    std::vector<Tensor> weights;
  };

  std::string net_;
  Backbone backbone_;
  Heads heads_;
  Tensor shift_, inverse_scale_;
};

}  // namespace om
