#include "io/inception_file.h"

#include "io/model_file.h"

namespace om {
namespace {

/// "" or what ends in a dot, before the mark.
std::string prefix_in(const Checkpoint& file) {
  const std::string_view mark = Inception::kMark;
  for (const auto& [name, tensor] : file.tensors) {
    if (!name.ends_with(mark)) continue;
    const std::string prefix = name.substr(0, name.size() - mark.size());
    if (prefix.empty() || prefix.ends_with('.')) return prefix;
  }
  fail<InputError>(file.path, ": holds no Inception network (no tensor ", mark, ")");
}

}  // namespace

std::unique_ptr<Inception> load_inception(const std::string& path, Backend& backend) {
  const Checkpoint file = read_checkpoint(path);
  const std::string prefix = prefix_in(file);
  FileShapes shapes;
  std::int64_t budget = std::int64_t{1} << 16;
  for (const auto& [name, tensor] : file.tensors) {
    if (!name.starts_with(prefix) || tensor.shape.size() > kMaxRank) continue;
    shapes[name.substr(prefix.size())] = Shape(std::span(tensor.shape));
    budget += element_count(tensor.shape);
  }
  std::unique_ptr<Inception> inception;
  try {
    inception = std::make_unique<Inception>(shapes, Placement{backend, DType::f32, &budget});
  } catch (const InputError& error) {
    fail<InputError>(path, ": ", error.what());
  }
  fill(*inception, file, prefix);
  return inception;
}

}  // namespace om
