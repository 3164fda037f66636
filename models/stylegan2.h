// The StyleGAN 2 generator (Karras et al. 2020), with the parameter names of rosinality's PyTorch port.
//
//   z -> pixel norm -> `style`: equalised linear layers, lr_mul 0.01 -> w
//   constant 4x4 -> conv1 -> to_rgb1, then per size 8, 16, ..: convs.(2i) (upsampling), convs.(2i+1),
//   to_rgbs.i
//
// w index: conv1 takes w_0 and to_rgb1 w_1; then for i = 1, 3, 5, ..: w_i, w_(i+1) for the two convolutions,
// w_(i+2) for the colour layer, which shares it with the next size's first convolution. One noise map per
// styled convolution.
#pragma once

#include "models/decoder.h"
#include "nn/modulated_conv.h"

namespace om {

struct StyleGan2Config {
  std::int64_t z_width = 512;
  std::int64_t latent_width = 512;
  int mapping_layers = 8;
  std::int64_t constant_channels = 512;
  std::vector<std::int64_t> channels;  ///< at 4, 8, .., size
  bool stored_noise = true;
  bool latent_average = false;
  /// Clips every styled convolution after its activation, and every colour layer before the image so far is
  /// added, to [-conv_clamp, conv_clamp] (stylegan2-ada-pytorch); 0 for none.
  double conv_clamp = 0;

  std::int64_t size() const { return std::int64_t{2} << channels.size(); }

  /// Read off a checkpoint's shapes; sizes 8 to 1024. InputError naming the tensor that is missing or does
  /// not fit.
  static StyleGan2Config from_shapes(const FileShapes& shapes);
};

class StyleGan2 : public Decoder {
 public:
  StyleGan2(const StyleGan2Config& config, const Placement& place);

  const StyleGan2Config& config() const { return config_; }
  std::int64_t size() const override { return config_.size(); }
  std::int64_t z_width() const override { return config_.z_width; }
  std::int64_t latent_width() const override { return config_.latent_width; }
  std::int64_t latents() const override { return 2 * static_cast<std::int64_t>(config_.channels.size()); }
  std::vector<std::int64_t> channels() const override { return config_.channels; }
  std::vector<std::int64_t> noise_sizes() const override;

  Tensor map(const Tensor& z) const override;
  Tensor synthesize(const Tensor& wplus, const std::vector<Tensor>& noise) const override;
  std::vector<Tensor> stored_noise() const override { return noises_; }
  Tensor latent_average() const override { return latent_average_; }

 private:
  StyleGan2Config config_;
  List<EqualLinear> mapping_;
  Tensor input_;
  std::unique_ptr<StyledConv> conv1_;
  std::unique_ptr<ToRgb> to_rgb1_;
  List<StyledConv> convs_;
  List<ToRgb> to_rgbs_;
  std::vector<Tensor> noises_;
  Tensor latent_average_;
};

}  // namespace om
