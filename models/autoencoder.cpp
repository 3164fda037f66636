#include "models/autoencoder.h"

namespace om {
namespace {

void expect_same_size(const Encoder& encoder, const Decoder& decoder) {
  if (encoder.config().size() != decoder.size())
    fail<InputError>("autoencoder: the encoder is for ", encoder.config().size(),
                     " pixels, the generator for ", decoder.size());
}

}  // namespace

Autoencoder::Autoencoder(std::unique_ptr<Encoder> encoder, std::unique_ptr<Decoder> decoder,
                         std::unique_ptr<Encoder> noise_encoder)
    : encoder_(std::move(encoder)), noise_encoder_(std::move(noise_encoder)), decoder_(std::move(decoder)) {
  expect_same_size(*encoder_, *decoder_);
  const EncoderConfig& config = encoder_->config();
  const std::int64_t width =
      config.projection == Projection::z ? decoder_->z_width() : decoder_->latent_width();
  if (config.latent_heads && config.latent_width != width)
    fail<InputError>("autoencoder: the encoder predicts latents of width ", config.latent_width,
                     ", the generator takes ", width);
  if (noise_encoder_) {
    expect_same_size(*noise_encoder_, *decoder_);
    if (!config.latent_heads) fail<InputError>("autoencoder: the latent encoder predicts no latents");
    if (config.noise_heads) fail<InputError>("autoencoder: the latent encoder has noise heads of its own");
    if (!noise_encoder_->config().noise_heads)
      fail<InputError>("autoencoder: the noise encoder predicts no noise");
    if (noise_encoder_->config().latent_heads)
      fail<InputError>("autoencoder: the noise encoder has latent heads of its own");
  }
  const std::int64_t maps = noise_source().config().noise_maps();
  const auto wanted = static_cast<std::int64_t>(decoder_->noise_sizes().size());
  if (maps != 0 && maps != wanted)
    fail<InputError>("autoencoder: the encoder predicts ", maps, " noise maps, the generator takes ", wanted);
  for (const Part& part : encoders()) child(part.name, *part.encoder);
  child("decoder", *decoder_);
}

std::vector<Autoencoder::Part> Autoencoder::encoders() const {
  if (!noise_encoder_) return {{"encoder", encoder_.get()}};
  return {{"latent_encoder", encoder_.get()}, {"noise_encoder", noise_encoder_.get()}};
}

Code Autoencoder::encode(const Tensor& image) const {
  Code code = (*encoder_)(image);
  if (noise_encoder_) code.noise = (*noise_encoder_)(image).noise;
  return code;
}

Code Autoencoder::encode_latent(const Tensor& image) const { return {(*encoder_)(image).latent, {}}; }

Tensor Autoencoder::wplus(const Code& code) const {
  if (!code.latent.defined()) fail("autoencoder: the code has no latent");
  return encoder_->config().projection == Projection::z
             ? repeat_latent(decoder_->map(code.latent), decoder_->latents())
             : code.latent;
}

Tensor Autoencoder::decode(const Code& code) const {
  const Tensor latents = wplus(code);
  if (code.noise.empty()) fail("autoencoder: the code has no noise maps");
  return decoder_->synthesize(latents, code.noise);
}

Tensor Autoencoder::operator()(const Tensor& image, const std::vector<Tensor>& noise) const {
  return decode({encode_latent(image).latent, noise});
}

}  // namespace om
