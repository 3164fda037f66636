// The paper's model: trained encoders and a frozen generator as their decoder (figure 1). One encoder
// predicts latent and noise, or two networks share the work (section 3.3): a latent encoder without noise
// heads and a noise encoder without latent heads.
#pragma once

#include "models/encoder.h"

namespace om {

class Autoencoder : public Module {
 public:
  /// With a `noise_encoder`, `encoder` is the latent encoder of a two-network model. InputError where sizes,
  /// widths, heads or the number of noise maps do not fit one another.
  Autoencoder(std::unique_ptr<Encoder> encoder, std::unique_ptr<Decoder> decoder,
              std::unique_ptr<Encoder> noise_encoder = nullptr);

  /// The one that predicts the latent.
  Encoder& encoder() const { return *encoder_; }
  /// The second network; null where there is but one.
  Encoder* noise_encoder() const { return noise_encoder_.get(); }
  Decoder& decoder() const { return *decoder_; }

  struct Part {
    std::string name;  ///< as files have it: "encoder", or "latent_encoder" and "noise_encoder"
    Encoder* encoder;
  };
  std::vector<Part> encoders() const;
  /// Whether encode() gives a latent, and whether it gives noise maps.
  bool predicts_latent() const { return encoder_->config().latent_heads; }
  bool predicts_noise() const { return noise_source().config().noise_heads; }

  /// image [N, S, S, 3] in [-1, 1] -> the decoder's inputs, each from the network that predicts it.
  Code encode(const Tensor& image) const;
  /// The same without noise: of two networks only the latent encoder runs.
  Code encode_latent(const Tensor& image) const;
  /// The code's latent as the synthesis network takes it, [N, L, D]: a z goes through the mapping network.
  /// Error where there is none.
  Tensor wplus(const Code& code) const;
  /// code -> image [N, S, S, 3], not clamped. A z latent goes through the mapping network. Error where the
  /// code lacks its latent or its noise: for an encoder without noise heads the caller adds maps
  /// (Decoder::random_noise).
  Tensor decode(const Code& code) const;
  Tensor operator()(const Tensor& image) const { return decode(encode(image)); }
  /// The same with these maps, [N or 1, s, s, 1], in place of predicted ones.
  Tensor operator()(const Tensor& image, const std::vector<Tensor>& noise) const;

 private:
  const Encoder& noise_source() const { return noise_encoder_ ? *noise_encoder_ : *encoder_; }

  std::unique_ptr<Encoder> encoder_, noise_encoder_;
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace om
