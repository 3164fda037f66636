#include "train/checkpoint_parts.h"

#include <cstring>

#include "io/model_file.h"

namespace om {
namespace {

using Tensors = std::map<std::string, FileTensor>;

FileTensor count_tensor(std::int64_t value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  return {FileType::i64, {}, {bytes.begin(), bytes.end()}};
}

std::string optimizer_name(const Entry& entry, const char* part) {
  return "optimizer." + entry.name + "." + part;
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

void add(Checksum& sum, const Tensors& tensors) {
  for (const auto& [name, tensor] : tensors) {
    sum.add(name);
    sum.add(std::as_bytes(std::span(tensor.shape)));
    sum.add(tensor.data);
  }
}

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

void put_adam(Tensors& tensors, const Adam& adam) {
  const std::vector<Adam::State> states = adam.state();
  for (std::size_t i = 0; i < states.size(); ++i) {
    if (states[i].steps == 0) continue;
    const Entry& entry = adam.entry(i);
    tensors[optimizer_name(entry, "exp_avg")] = to_file(states[i].first, entry.layout);
    tensors[optimizer_name(entry, "exp_avg_sq")] = to_file(states[i].second, entry.layout);
    tensors[optimizer_name(entry, "step")] = count_tensor(states[i].steps);
  }
}

std::vector<Adam::State> get_adam(const std::string& path, const Tensors& tensors, const Adam& adam) {
  std::vector<Adam::State> states;
  for (std::size_t i = 0; i < adam.parameters().size(); ++i)
    states.push_back(adam_state(path, tensors, adam.entry(i)));
  return states;
}

Checkpoint view_of(const std::string& path, const SafeTensors& content) {
  Checkpoint view{path, "safetensors", {}, content.metadata, {}};
  for (const auto& [name, tensor] : content.tensors)
    view.tensors[name] = {tensor.type, tensor.shape, [&tensor = tensor] { return tensor; }};
  return view;
}

std::string metadata_text(const std::string& path, const SafeTensors& content, const char* key) {
  const auto found = content.metadata.find(key);
  if (found == content.metadata.end())
    fail<InputError>(path, ": no '", key, "' in its metadata: not a checkpoint of ours");
  return found->second;
}

}  // namespace om
