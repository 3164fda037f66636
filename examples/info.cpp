// onemodel info: what a checkpoint holds.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>

#include "examples/common.h"
#include "examples/models.h"
#include "io/bytes.h"
#include "io/model_file.h"
#include "io/other_model.h"
#include "io/same_file.h"
#include "io/shown.h"
#include "tensor/dry.h"
#include "train/model_graph.h"

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

struct InfoOptions {
  std::string file, graph;
  bool tensors = false, step = false;
};

/// The file's networks as a graph, of a dry backend's: nothing is computed for it.
int write_model_graph(const InfoOptions& options, const Common& common) {
  expect_graph_ending(options.graph);
  refuse_overwriting(options.graph, {options.file});
  expect_writable(options.graph);
  const std::unique_ptr<Backend> dry = dry_backend(open_backend(common));
  const LayerGraph graph = naming_file(options.file, [&] {
    Model model = load_model(read_checkpoint(options.file), *dry, saying_so());
    return options.step ? derivative_graph(std::move(model), *dry) : layer_graph(std::move(model), *dry);
  });
  const std::string name = shown(std::filesystem::path(options.file).filename().string());
  write_graph(
      options.graph,
      drawing_of(graph, options.step ? name + ": the gradient's way in a training step, shapes [N, H, W, C]"
                                     : name + ": its layers, shapes [N, H, W, C]"));
  note(text(options.graph, ": ", graph.boxes.size(), " boxes, ", graph.edges.size(), " edges"));
  return kDone;
}

int print_info(const InfoOptions& options, const Common& common) {
  if (options.step && options.graph.empty()) fail<UsageError>("info: --step is for --graph");
  if (!options.graph.empty()) return write_model_graph(options, common);
  const std::string& file = options.file;
  bool list = options.tensors;
  const Session session(common);
  Backend& backend = session.backend();
  const Checkpoint checkpoint = read_checkpoint(file);
  Model model;
  if (holds_network(checkpoint)) {
    model = load_model(checkpoint, backend);
  } else if (const OtherModel* other = other_model(checkpoint)) {
    model.found = {other->describe(checkpoint, backend), text("read by `", other->reader, "`")};
  }

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
  auto o = std::make_shared<InfoOptions>();
  return {"info",
          "Print what a checkpoint holds",
          {{"FILE", "", &o->file, "Checkpoint, PyTorch's or ours", kRequired},
           {"--tensors", "", &o->tensors, "List every tensor, as it does where no network is known"},
           {"--graph", "OUT", &o->graph,
            "Draw the model instead, .svg (through Graphviz) or .dot: a box a layer"},
           {"--step", "", &o->step, "With --graph: the derivative graph of a training step"}},
          [o](const Common& common) { return print_info(*o, common); }};
}

const Subcommand here(info_command);

}  // namespace
}  // namespace om
