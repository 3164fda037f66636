// The encoder of the paper (section 3.2, figure 2): a residual network that halves the image down to 4x4 and,
// on its way, predicts one piece of the latent code and one noise map per generator layer.
//
//   per size, from the input's to 4x4: resnet_blocks.i (stride 2 but for the first),
//   intermediate_resnet_blocks.i (stride 1) after resnet_blocks.i: latent piece to_latent.i of the global
//   average, noise map to_noise.i; after intermediate_resnet_blocks.i: intermediate_to_latent.i, and for
//   StyleGAN 2 intermediate_to_noise.i (not at 4x4)
//
// StyleGAN 1's generator has one noise map a size and gets no intermediate_to_noise. An encoder of a
// two-network model has the heads of its own part alone.
//
// Both lists are reversed, so that the 4x4 pieces come first, as the decoder wants them. Checkpoints also
// hold start_block (the same tensors as resnet_blocks.0), an unused intermediate_block and an unused last
// intermediate_to_noise; they are kept so that an exported file loads in the authors' code.
#pragma once

#include "models/decoder.h"
#include "nn/conv.h"
#include "nn/folded_conv.h"

namespace om {

/// What the latent pieces are: stacked layers for the synthesis network, or summed into one z for the mapping
/// network.
enum class Projection : std::uint8_t { wplus, z };

/// Which heads an encoder has: both, or one network of two.
enum class Heads : std::uint8_t { both, latent, noise };

/// Where an encoder's channels come from: its decoder's at each size, or StyleGAN 1's published map (512 up
/// to 32 pixels, then halved at each size), which the authors' two-network models have with either decoder.
enum class ChannelMap : std::uint8_t { decoder, stylegan1 };

struct EncoderConfig {
  std::int64_t latent_width = 512;
  std::vector<std::int64_t> channels;  ///< at size, size/2, .., 4
  Projection projection = Projection::wplus;
  bool latent_heads = true;
  bool noise_heads = true;
  bool intermediate_noise = true;  ///< two noise maps per size (StyleGAN 2) or one (StyleGAN 1)

  std::int64_t size() const { return std::int64_t{2} << channels.size(); }
  /// How many maps are predicted; 0 without noise heads.
  std::int64_t noise_maps() const;

  /// Read off a checkpoint's shapes. A file does not tell wplus from z: the caller does.
  static EncoderConfig from_shapes(const FileShapes& shapes, Projection projection);
  /// An encoder for `decoder`: at each size `width` times the channels of the map, rounded, at least 1.
  static EncoderConfig for_decoder(const Decoder& decoder, Projection projection, double width,
                                   Heads heads = Heads::both, ChannelMap map = ChannelMap::decoder);
};

/// An image as the decoder's inputs.
struct Code {
  Tensor latent;              ///< [N, L, D] (wplus) or [N, D] (z); undefined without latent heads
  std::vector<Tensor> noise;  ///< [N, s, s, 1], 4x4 first; empty without noise heads
};

/// conv3x3 - BN - relu - conv3x3 - BN, plus the shortcut (a 1x1 conv and BN where the shape changes), then
/// relu. In evaluation mode the norms may be part of the convolutions, and the shortcut's shift of the second
/// one's.
class ResnetBlock : public Module {
 public:
  ResnetBlock(const Placement& place, std::int64_t in, std::int64_t out, std::int64_t stride, bool project);
  Tensor operator()(const Tensor& x) const;

 private:
  Conv conv1_, conv2_;
  BatchNorm bn1_, bn2_;
  std::unique_ptr<Conv> shortcut_;
  std::unique_ptr<BatchNorm> shortcut_bn_;
  std::unique_ptr<FoldedConv> first_, second_, projection_;
  Derived both_biases_;
};

class Encoder : public Module {
 public:
  Encoder(const EncoderConfig& config, const Placement& place);

  const EncoderConfig& config() const { return config_; }
  /// image [N, size, size, 3] in [-1, 1].
  Code operator()(const Tensor& image) const;

 private:
  void heads(const Placement& place, const std::string& prefix, bool noise, List<Conv>& latent_heads,
             List<Conv>& noise_heads);

  EncoderConfig config_;
  ResnetBlock start_, unused_;
  List<ResnetBlock> blocks_, intermediate_blocks_;
  List<Conv> to_latent_, intermediate_to_latent_, to_noise_, intermediate_to_noise_;
};

}  // namespace om
