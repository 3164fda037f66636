// onemodel import: any supported checkpoint becomes a safetensors file of ours.
#include <iostream>
#include <memory>

#include "examples/common.h"
#include "io/model_file.h"
#include "io/same_file.h"

namespace om {
namespace {

struct ImportOptions {
  std::string file, out, latent;
};

int import_model(const ImportOptions& options, const Common& common) {
  refuse_overwriting(options.out, {options.file});
  Backend& backend = start(common);
  std::optional<Projection> projection;
  if (!options.latent.empty()) projection = options.latent == "z" ? Projection::z : Projection::wplus;

  const Checkpoint checkpoint = read_checkpoint(options.file);
  const Model model = load_model(checkpoint, backend, projection);
  save_model(options.out, model, model.metadata);

  std::cout << options.file << " (" << checkpoint.format << ")\n";
  for (const std::string& line : model.found) std::cout << "found  " << line << "\n";
  for (const auto& [name, tensor] : model.extras)
    std::cout << "kept   " << name << ": unknown, but beside the tensors of a network taken\n";
  for (const std::string& line : model.left) std::cout << "left   " << line << "\n";
  std::cout << "wrote  " << options.out << "\n";
  return kDone;
}

Command import_command() {
  auto o = std::make_shared<ImportOptions>();
  return {"import",
          "Turn a PyTorch checkpoint into a safetensors file of ours",
          {{"FILE", "", &o->file, "Checkpoint to read", kRequired},
           {"-o,--out", "OUT", &o->out, "File to write (.safetensors)", kRequired},
           {"--latent",
            "wplus|z",
            &o->latent,
            "What an encoder's latents are meant as; PyTorch files do not tell",
            false,
            {"wplus", "z"}}},
          [o](const Common& common) { return import_model(*o, common); }};
}

const Subcommand here(import_command);

}  // namespace
}  // namespace om
