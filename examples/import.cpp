// onemodel import: any supported checkpoint becomes a safetensors file of ours.
#include <iostream>
#include <memory>

#include "examples/common.h"
#include "io/model_file.h"
#include "io/same_file.h"

namespace om {
namespace {

struct ImportOptions {
  std::string file, out, latent, prefix;
  std::optional<std::int64_t> size;
};

int import_model(const ImportOptions& options, const Common& common) {
  refuse_overwriting(options.out, {options.file});
  const Session session(common);
  Backend& backend = session.backend();
  LoadOptions load;
  if (!options.latent.empty()) load.projection = options.latent == "z" ? Projection::z : Projection::wplus;
  if (!options.prefix.empty()) load.prefix = options.prefix;
  load.size = options.size;

  const Checkpoint checkpoint = read_checkpoint(options.file);
  const Model model = load_model(checkpoint, backend, load);
  save_model(options.out, model, model.metadata);

  std::cout << options.file << " (" << checkpoint.format << ")\n";
  for (const std::string& line : model.found) std::cout << "found  " << line << "\n";
  for (const std::string& line : model.not_taken) std::cout << "left   " << line << "\n";
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
            {"wplus", "z"}},
           {"--prefix", "P", &o->prefix, "Take the networks under this prefix, where FILE holds several"},
           {"--size", "N", &o->size, "Pixels of a StyleGAN 1, whose files hold blocks up to 1024"}},
          [o](const Common& common) { return import_model(*o, common); }};
}

const Subcommand here(import_command);

}  // namespace
}  // namespace om
