#include "models/autoencoder.h"

namespace om {

Autoencoder::Autoencoder(std::unique_ptr<Encoder> encoder, std::unique_ptr<Decoder> decoder)
    : encoder_(std::move(encoder)), decoder_(std::move(decoder)) {
  const EncoderConfig& config = encoder_->config();
  if (config.size() != decoder_->size())
    fail<InputError>("autoencoder: the encoder is for ", config.size(), " pixels, the generator for ",
                     decoder_->size());
  const std::int64_t width =
      config.projection == Projection::z ? decoder_->z_width() : decoder_->latent_width();
  if (config.latent_heads && config.latent_width != width)
    fail<InputError>("autoencoder: the encoder predicts latents of width ", config.latent_width,
                     ", the generator takes ", width);
  child("encoder", *encoder_);
  child("decoder", *decoder_);
}

Tensor Autoencoder::decode(const Code& code) const {
  const Tensor wplus = encoder_->config().projection == Projection::z
                           ? repeat_latent(decoder_->map(code.latent), decoder_->latents())
                           : code.latent;
  return decoder_->synthesize(wplus, code.noise.empty() ? decoder_->zero_noise(wplus.backend()) : code.noise);
}

}  // namespace om
