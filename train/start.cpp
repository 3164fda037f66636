#include "train/start.h"

#include <map>

#include "io/model_file.h"
#include "nn/initial.h"
#include "train/checkpoint.h"

namespace om {
namespace {

bool is_noise_head(const std::string& name) {
  return name.starts_with("to_noise.") || name.starts_with("intermediate_to_noise.");
}

Backend& backend_of(const Autoencoder& model) { return model.encoder().entries().front().value.backend(); }

/// Gives `target` the values of `source`, name by name; returns the names that `source` lacks. InputError
/// `FILE: reason` where shapes differ.
std::vector<std::string> copy_values(const Encoder& source, const Encoder& target, const std::string& file) {
  std::map<std::string, Tensor> values;
  for (const Entry& entry : source.entries(true)) values[entry.name] = entry.value;
  std::vector<std::string> lacking;
  for (const Entry& entry : target.entries()) {
    const auto found = values.find(entry.name);
    if (found == values.end()) {
      lacking.push_back(entry.name);
      continue;
    }
    if (found->second.shape() != entry.value.shape())
      fail<InputError>(file, ": its encoder's ", entry.name, " is ", found->second.shape(), ", the run's ",
                       entry.value.shape(), " (another generator or 'encoder_width'?)");
    entry.value.assign(found->second);
  }
  return lacking;
}

Model with_encoder(const std::string& file, Projection projection, Backend& backend) {
  Model model = load_model(read_checkpoint(file), backend, projection);
  if (!model.encoder) fail<InputError>(file, ": holds no encoder to start from");
  return model;
}

}  // namespace

std::unique_ptr<Autoencoder> make_model(const TrainConfig& config, RandomSource& random, Backend& backend) {
  std::unique_ptr<Decoder> decoder = load_generator(config.generator, backend);
  const auto fresh = [&](Heads heads) {
    auto encoder = std::make_unique<Encoder>(
        EncoderConfig::for_decoder(*decoder, config.projection(), config.encoder_width, heads),
        Placement{backend});
    initialize(*encoder, random);
    return encoder;
  };
  const bool two = config.strategy == "two-networks";
  auto encoder = fresh(two ? Heads::latent : Heads::both);
  auto noise_encoder = two ? fresh(Heads::noise) : nullptr;
  return std::make_unique<Autoencoder>(std::move(encoder), std::move(decoder), std::move(noise_encoder));
}

Start start_from(const std::string& file, const Autoencoder& model, Projection projection) {
  const Encoder& target = model.encoder();
  const Model source = with_encoder(file, projection, backend_of(model));
  const auto stored = source.metadata.find("latent");
  if (stored != source.metadata.end() && stored->second != name_of(projection))
    fail<InputError>(file, ": its encoder predicts ", stored->second, ", the run wants ",
                     name_of(projection));
  const std::vector<std::string> lacking = copy_values(*source.encoder, target, file);
  for (const std::string& name : lacking)
    if (!is_noise_head(name)) fail<InputError>(file, ": its encoder has no ", name);
  Start start{{}, fingerprint(*source.encoder)};
  if (!lacking.empty())
    start.lines = {text(file, ": has not all of the noise heads; they start with fresh values")};
  return start;
}

std::string encoder_fingerprint(const std::string& file, Projection projection, Backend& backend) {
  return fingerprint(*with_encoder(file, projection, backend).encoder);
}

void save_first_stage(const std::string& file, const Autoencoder& model, const std::string& settings) {
  EncoderConfig shape = model.encoder().config();
  shape.noise_heads = false;
  const Encoder trained(shape, Placement{backend_of(model)});
  copy_values(model.encoder(), trained, file);
  save_autoencoder(file, trained, model.decoder(), {{"config", settings}, {"stage", "1"}});
}

}  // namespace om
