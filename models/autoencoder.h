// The paper's model: a trained encoder and a frozen generator as its decoder (figure 1).
#pragma once

#include "models/encoder.h"

namespace om {

class Autoencoder : public Module {
 public:
  Autoencoder(std::unique_ptr<Encoder> encoder, std::unique_ptr<Decoder> decoder);

  Encoder& encoder() const { return *encoder_; }
  Decoder& decoder() const { return *decoder_; }

  /// image [N, S, S, 3] in [-1, 1] -> the decoder's inputs.
  Code encode(const Tensor& image) const { return (*encoder_)(image); }
  /// code -> image [N, S, S, 3], not clamped. A z latent goes through the mapping network; missing noise maps
  /// are zero.
  Tensor decode(const Code& code) const;
  Tensor operator()(const Tensor& image) const { return decode(encode(image)); }

 private:
  std::unique_ptr<Encoder> encoder_;
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace om
