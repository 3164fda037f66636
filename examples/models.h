// Opening the models that a command line names.
#pragma once

#include <memory>
#include <string>

#include "examples/command.h"
#include "io/model_file.h"

namespace om {

/// Load options that say on stderr which network was taken where a file holds several.
LoadOptions saying_so();

/// The autoencoder in `model`; with `generator` not empty, the encoder in it and the generator in that file.
std::unique_ptr<Autoencoder> open_autoencoder(const std::string& model, const std::string& generator,
                                              Backend& backend);

/// `--generator FILE` beside --model.
Option generator_option(std::string* file);

}  // namespace om
