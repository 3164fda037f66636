// What a run starts with: a fresh encoder for a generator, or one that a model file holds; and what the first
// of two stages leaves.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "autograd/random.h"
#include "models/autoencoder.h"
#include "train/config.h"

namespace om {

/// The generator of the configuration and fresh encoders for it, drawn from `random`. InputError where the
/// generator's file is broken or holds none.
std::unique_ptr<Autoencoder> make_model(const TrainConfig& config, RandomSource& random, Backend& backend);

/// What start_from() has to say, and the fingerprint() of the encoder that it took.
struct Start {
  std::vector<std::string> lines;
  std::string encoder;
};
/// Gives the encoder of `model` (of two the latent one) the weights and statistics of the one in `file` (of
/// two the latent one). What only one of the two has, noise heads, stays as it is; a line says so.
/// InputError `FILE: reason` where the file has no encoder or one of another kind or size.
Start start_from(const std::string& file, const Autoencoder& model, Projection projection);
/// The fingerprint() of the encoder that start_from() would take. InputError where the file has none.
std::string encoder_fingerprint(const std::string& file, Projection projection, Backend& backend);

/// Writes the model of a first stage: the latent encoder, or the encoder without its untrained noise heads,
/// and the generator. Decoded with random noise maps, as it was trained.
void save_first_stage(const std::string& file, const Autoencoder& model, const std::string& settings);

}  // namespace om
