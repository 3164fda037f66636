// onemodel export: a model as a state dict with the names and layouts of the code it comes from.
#include "io/export.h"

#include <iostream>
#include <memory>

#include "examples/common.h"
#include "io/same_file.h"

namespace om {
namespace {

struct CommandOptions {
  std::string file, out, target, part, prefix;
  std::optional<std::int64_t> size;
  bool half = false;
};

int export_file(const CommandOptions& options, const Common& common) {
  refuse_overwriting(options.out, {options.file});
  const Session session(common);
  Backend& backend = session.backend();
  ExportOptions what;
  if (!options.target.empty())
    what.target = options.target == "ours"      ? ExportTarget::ours
                  : options.target == "authors" ? ExportTarget::authors
                                                : ExportTarget::rosinality;
  if (!options.part.empty())
    what.part = options.part == "encoder" ? ExportPart::encoder : ExportPart::generator;
  what.half = options.half;

  LoadOptions load;
  load.size = options.size;
  if (!options.prefix.empty()) load.prefix = options.prefix;
  Model model = load_model(read_checkpoint(options.file), backend, load);
  for (const std::string& line : model.found) std::cout << "found  " << line << "\n";
  for (const std::string& line : model.not_taken) std::cout << "left   " << line << "\n";
  const std::vector<std::string> lines =
      naming_file(options.file, [&] { return export_model(options.out, std::move(model), what); });
  std::cout << "wrote  " << options.out << "\n";
  for (const std::string& line : lines) std::cout << "       " << line << "\n";
  return kDone;
}

Command export_command() {
  auto o = std::make_shared<CommandOptions>();
  return {
      "export",
      "Write a model as a state dict that PyTorch code loads",
      {{"FILE", "", &o->file, "Checkpoint, PyTorch's or ours", kRequired},
       {"-o,--out", "OUT", &o->out,
        "File to write: .safetensors, or .pt, .pth or .model for torch.load(weights_only=True)", kRequired},
       {"--to",
        "ours|authors|rosinality",
        &o->target,
        "Whose names (default: ours; in a PyTorch file the authors', rosinality's for a generator alone)",
        false,
        {"ours", "authors", "rosinality"}},
       {"--only", "encoder|generator", &o->part, "One network alone", false, {"encoder", "generator"}},
       {"--half", "", &o->half, "Half precision; refused where a number is beyond it"},
       {"--prefix", "P", &o->prefix, "Take the networks under this prefix, where FILE holds several"},
       {"--size", "N", &o->size, "Pixels of a StyleGAN 1, whose files hold blocks up to 1024"}},
      [o](const Common& common) { return export_file(*o, common); }};
}

const Subcommand here(export_command);

}  // namespace
}  // namespace om
