// onemodel info: what a checkpoint holds.
#include <algorithm>
#include <iostream>
#include <memory>

#include "examples/common.h"
#include "io/bytes.h"
#include "io/model_file.h"

namespace om {
namespace {

struct Total {
  std::int64_t tensors = 0, elements = 0, bytes = 0;
};

/// Per element type.
std::map<std::string, Total> totals_of(const Checkpoint& checkpoint) {
  std::map<std::string, Total> totals;
  for (const auto& [name, tensor] : checkpoint.tensors) {
    Total& total = totals[std::string(name_of(tensor.type))];
    const std::int64_t elements = element_count(tensor.shape);
    total.tensors += 1;
    total.elements += elements;
    total.bytes += elements * static_cast<std::int64_t>(size_of(tensor.type));
  }
  return totals;
}

int print_info(const std::string& file, bool list, const Common& common) {
  const Session session(common);
  Backend& backend = session.backend();
  const Checkpoint checkpoint = read_checkpoint(file);
  Model model;
  if (holds_network(checkpoint)) model = load_model(checkpoint, backend);

  std::cout << "file      " << file << "\nformat    " << checkpoint.format << "\n";
  for (const std::string& line : model.found) std::cout << "network   " << line << "\n";
  for (const std::string& line : model.not_taken) std::cout << "network   " << line << "\n";
  for (const std::string& line : model.left) std::cout << "besides   " << line << "\n";
  if (model.found.empty()) {
    std::cout << "network   none that is known\n";
    for (const std::string& line : checkpoint.skipped) std::cout << "besides   " << line << "\n";
    list = true;
  }
  for (const auto& [type, total] : totals_of(checkpoint))
    std::cout << "tensors   " << total.tensors << " of " << type << ": " << total.elements << " elements, "
              << total.bytes << " bytes\n";
  for (const auto& [key, value] : checkpoint.metadata)
    std::cout << "metadata  " << printable(key) << " = " << printable(value, 2000) << "\n";
  if (!list) return kDone;
  for (const auto& [name, tensor] : checkpoint.tensors)
    std::cout << "tensor    " << printable(name, 1000) << " " << name_of(tensor.type) << " "
              << shape_text(tensor.shape) << (tensor.problem.empty() ? "" : " (" + tensor.problem + ")")
              << "\n";
  return kDone;
}

Command info_command() {
  struct Options {
    std::string file;
    bool tensors = false;
  };
  auto o = std::make_shared<Options>();
  return {"info",
          "Print what a checkpoint holds",
          {{"FILE", "", &o->file, "Checkpoint, PyTorch's or ours", kRequired},
           {"--tensors", "", &o->tensors, "List every tensor, as it does where no network is known"}},
          [o](const Common& common) { return print_info(o->file, o->tensors, common); }};
}

const Subcommand here(info_command);

}  // namespace
}  // namespace om
