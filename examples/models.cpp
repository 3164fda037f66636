#include "examples/models.h"

#include "examples/common.h"

namespace om {

LoadOptions saying_so() {
  LoadOptions options;
  options.say = [](const std::string& line) { note(line); };
  return options;
}

std::unique_ptr<Autoencoder> open_autoencoder(const std::string& model, const std::string& generator,
                                              Backend& backend) {
  return load_autoencoder(model, backend, generator, saying_so());
}

Option generator_option(std::string* file) {
  return {"--generator", "FILE", file, "Checkpoint with the generator, where --model holds an encoder alone"};
}

}  // namespace om
