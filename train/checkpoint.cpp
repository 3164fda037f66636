#include "train/checkpoint.h"

#include <charconv>
#include <cstring>

#include "io/bytes.h"
#include "io/model_file.h"
#include "train/checksum.h"

namespace om {
namespace {

using Tensors = std::map<std::string, FileTensor>;
using Metadata = std::map<std::string, std::string>;

constexpr const char* kind = "training checkpoint";
constexpr const char* format = "2";

/// Names, shapes and values. Checkpoints before format 2 summed these alone, and fingerprints still do.
void add(Checksum& sum, const Tensors& tensors) {
  for (const auto& [name, tensor] : tensors) {
    sum.add(name);
    sum.add(std::as_bytes(std::span(tensor.shape)));
    sum.add(tensor.data);
  }
}

/// Everything that a checkpoint's file means: the above, the types of the tensors, and all other metadata.
std::string checksum_of(const SafeTensors& content) {
  Checksum sum;
  add(sum, content.tensors);
  for (const auto& [name, tensor] : content.tensors) sum.add(std::as_bytes(std::span(&tensor.type, 1)));
  for (const auto& [key, value] : content.metadata) {
    if (key == "checksum") continue;
    sum.add(key);
    sum.add(value);
  }
  return sum.text();
}

FileTensor count_tensor(std::int64_t value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  return {FileType::i64, {}, {bytes.begin(), bytes.end()}};
}

std::string optimizer_name(const Entry& entry, const char* part) {
  return "optimizer." + entry.name + "." + part;
}

std::string metadata_text(const std::string& path, const Metadata& metadata, const char* key) {
  const auto found = metadata.find(key);
  if (found == metadata.end())
    fail<InputError>(path, ": no '", key, "' in its metadata: not a training checkpoint");
  return found->second;
}

template <class T>
T metadata_number(const std::string& path, const Metadata& metadata, const char* key) {
  const std::string value = metadata_text(path, metadata, key);
  T number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || (std::is_signed_v<T> && number < 0))
    fail<InputError>(path, ": '", key, "' in its metadata is no count");
  return number;
}

Adam::State adam_state(const std::string& path, const Tensors& tensors, const Entry& entry) {
  const auto find = [&](const char* part) {
    const auto found = tensors.find(optimizer_name(entry, part));
    return found == tensors.end() ? nullptr : &found->second;
  };
  Adam::State state;
  const FileTensor* steps = find("step");
  if (steps == nullptr) return state;
  if (steps->type != FileType::i64 || !steps->shape.empty())
    fail<InputError>(path, ": ", optimizer_name(entry, "step"), " is no count");
  std::memcpy(&state.steps, steps->data.data(), sizeof state.steps);
  if (state.steps <= 0) fail<InputError>(path, ": ", optimizer_name(entry, "step"), " is no count");
  const Shape shape = entry.layout.to_file(entry.value.shape());
  for (const auto& [part, target] :
       {std::pair("exp_avg", &state.first), std::pair("exp_avg_sq", &state.second)}) {
    const FileTensor* moment = find(part);
    if (moment == nullptr || moment->type != FileType::f32 ||
        !std::equal(moment->shape.begin(), moment->shape.end(), shape.begin(), shape.end()))
      fail<InputError>(path, ": ", optimizer_name(entry, part), " is missing or does not fit");
    *target = from_file(*moment, entry.layout, entry.value.backend());
  }
  return state;
}

}  // namespace

std::string fingerprint(const Module& module) {
  Checksum sum;
  for (const Entry& entry : module.entries())
    add(sum, Tensors{{entry.name, to_file(entry.value, entry.layout)}});
  return sum.text();
}

void save_checkpoint(const std::string& path, const TrainingState& state, const Autoencoder& model,
                     const Adam& adam) {
  SafeTensors content;
  for (const auto& [name, encoder] : model.encoders()) content.tensors.merge(to_file(*encoder, name + "."));
  const std::vector<Adam::State> adam_states = adam.state();
  for (std::size_t i = 0; i < adam_states.size(); ++i) {
    if (adam_states[i].steps == 0) continue;
    const Entry& entry = adam.entry(i);
    content.tensors[optimizer_name(entry, "exp_avg")] = to_file(adam_states[i].first, entry.layout);
    content.tensors[optimizer_name(entry, "exp_avg_sq")] = to_file(adam_states[i].second, entry.layout);
    content.tensors[optimizer_name(entry, "step")] = count_tensor(adam_states[i].steps);
  }
  content.metadata = {{"onemodel", "1"},
                      {"kind", kind},
                      {"format", format},
                      {"latent", name_of(model.encoder().config().projection)},
                      {"iteration", std::to_string(state.iteration)},
                      {"position", std::to_string(state.position)},
                      {"random_seed", std::to_string(state.random.seed)},
                      {"random_draw", std::to_string(state.random.draw)},
                      {"settled", state.settled ? "1" : "0"},
                      {"config", state.settings},
                      {"generator", state.generator},
                      {"lpips", state.lpips},
                      {"metrics", state.metrics},
                      {"images", std::to_string(state.images)}};
  content.metadata["checksum"] = checksum_of(content);
  write_safetensors(path, content);
}

TrainingCheckpoint::TrainingCheckpoint(const std::string& path)
    : path_(path), content_(read_safetensors(path)) {
  const Metadata& metadata = content_.metadata;
  if (metadata_text(path, metadata, "kind") != kind) fail<InputError>(path, ": not a training checkpoint");
  // A file that lost its "format" is none of the old kind either: its checksum is of all.
  old_ = !metadata.contains("format");
  if (!old_ && metadata.at("format") != format)
    fail<InputError>(path, ": a checkpoint of format '", printable(metadata.at("format")),
                     "', which this program does not know");
  Checksum tensors_alone;
  if (old_) add(tensors_alone, content_.tensors);
  if (metadata_text(path, metadata, "checksum") != (old_ ? tensors_alone.text() : checksum_of(content_)))
    fail<InputError>(path, ": its checksum does not hold");

  state_.iteration = metadata_number<std::int64_t>(path, metadata, "iteration");
  state_.position = metadata_number<std::int64_t>(path, metadata, "position");
  state_.random.seed = metadata_number<std::uint64_t>(path, metadata, "random_seed");
  state_.random.draw = metadata_number<std::uint64_t>(path, metadata, "random_draw");
  state_.settled = metadata_number<std::int64_t>(path, metadata, "settled") != 0;
  state_.settings = metadata_text(path, metadata, "config");
  state_.generator = metadata_text(path, metadata, "generator");
  state_.images = metadata_number<std::int64_t>(path, metadata, "images");
  if (old_) return;
  state_.lpips = metadata_text(path, metadata, "lpips");
  state_.metrics = metadata_text(path, metadata, "metrics");
}

void TrainingCheckpoint::fill(const Autoencoder& model, Adam& adam) const {
  Checkpoint view{path_, "safetensors", {}, content_.metadata, {}};
  for (const auto& [name, tensor] : content_.tensors)
    view.tensors[name] = {tensor.type, tensor.shape, [&tensor = tensor] { return tensor; }};
  for (const auto& [name, encoder] : model.encoders()) om::fill(*encoder, view, name + ".");

  std::vector<Adam::State> adam_states;
  for (std::size_t i = 0; i < adam.parameters().size(); ++i)
    adam_states.push_back(adam_state(path_, content_.tensors, adam.entry(i)));
  adam.set_state(adam_states);
}

}  // namespace om
