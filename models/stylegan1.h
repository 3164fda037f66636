// The StyleGAN 1 generator (Karras et al. 2019, "A style-based generator architecture"), with the parameter
// names of rosinality's PyTorch port.
//
//   z -> pixel norm -> `style`: equalised linear layers, each with a leaky relu 0.2 -> w
//   generator.progression.i, one block a size from 4x4 up: conv1 (a learned constant at 4x4, else upsampling,
//   convolution and blur), noise, leaky relu, AdaIN; conv2, noise, leaky relu, AdaIN
//   generator.to_rgb.i of the last block gives the image
//
// Block i takes w_2i and w_(2i+1), and one noise map for both of its layers. A file names its way of
// upsampling: `conv1.0.weight` is the fused one, `conv1.1.conv.weight_orig` nearest neighbours and then a
// convolution.
//
// Files hold the blocks up to 1024 pixels whatever size was trained. Blocks above the size in use belong to
// no network here; who reads a file keeps them for export.
#pragma once

#include <functional>

#include "models/decoder.h"
#include "nn/equalized.h"

namespace om {

struct StyleGan1Config {
  std::int64_t z_width = 512;
  std::int64_t latent_width = 512;
  int mapping_layers = 8;
  std::int64_t constant_channels = 512;
  std::vector<std::int64_t> channels;  ///< at 4, 8, .., size
  std::vector<bool> fused;             ///< upsampling at 4 (unused), 8, .., size

  std::int64_t size() const { return std::int64_t{2} << channels.size(); }

  /// Read off a checkpoint's shapes: the blocks up to `size` pixels, 8 to 1024; 0 for all blocks. InputError
  /// naming the tensor that is missing or does not fit.
  static StyleGan1Config from_shapes(const FileShapes& shapes, std::int64_t size = 0);

  /// The channels of the published models at 4, 8, .., size.
  static std::vector<std::int64_t> published_channels(std::int64_t size);

  /// Sizes of the blocks in a file that this configuration leaves unused, smallest first.
  std::vector<std::int64_t> unused_sizes(const FileShapes& shapes) const;
};

/// The size up to which a file's blocks were trained: noise weights start at zero, so blocks at the end where
/// `is_zero` holds for both were never reached. All sizes where none was trained.
std::int64_t trained_size(const FileShapes& shapes,
                          const std::function<bool(const std::string& name)>& is_zero);

class StyleGan1 : public Decoder {
 public:
  /// A tensor that every such generator has and nothing else.
  static constexpr const char* kMark = "generator.progression.0.conv1.input";

  StyleGan1(const StyleGan1Config& config, const Placement& place);
  ~StyleGan1() override;

  const StyleGan1Config& config() const { return config_; }
  std::int64_t size() const override { return config_.size(); }
  std::int64_t z_width() const override { return config_.z_width; }
  std::int64_t latent_width() const override { return config_.latent_width; }
  std::int64_t latents() const override { return 2 * static_cast<std::int64_t>(config_.channels.size()); }
  std::vector<std::int64_t> channels() const override { return config_.channels; }
  std::vector<std::int64_t> noise_sizes() const override;

  Tensor map(const Tensor& z) const override;
  Tensor synthesize(const Tensor& wplus, const std::vector<Tensor>& noise) const override;

 private:
  class Block;

  StyleGan1Config config_;
  List<HeLinear> mapping_;
  List<Block> blocks_;
  std::unique_ptr<HeConv> to_rgb_;
};

}  // namespace om
