#include "train/checkpoint.h"

#include <fmt/format.h>

#include <charconv>
#include <cstring>

#include "io/model_file.h"
#include "io/safetensors.h"

namespace om {
namespace {

using Tensors = std::map<std::string, FileTensor>;
using Metadata = std::map<std::string, std::string>;

constexpr const char* kind = "training checkpoint";

/// Fowler-Noll-Vo's 1a on words of eight bytes: against damage, not against malice.
class Checksum {
 public:
  void add(std::span<const std::byte> bytes) {
    for (; bytes.size() >= sizeof(std::uint64_t); bytes = bytes.subspan(sizeof(std::uint64_t))) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data(), sizeof word);
      mix(word);
    }
    std::uint64_t rest = bytes.size();
    for (const std::byte b : bytes) rest = rest << 8 | std::to_integer<std::uint64_t>(b);
    mix(rest);
  }
  void add(const std::string& name) { add(std::as_bytes(std::span(name))); }
  void add(const Tensors& tensors) {
    for (const auto& [name, tensor] : tensors) {
      add(name);
      add(std::as_bytes(std::span(tensor.shape)));
      add(tensor.data);
    }
  }
  std::string text() const { return fmt::format("{:016x}", hash_); }

 private:
  void mix(std::uint64_t word) {
    hash_ = (hash_ ^ word) * 0x100000001b3ULL;
    hash_ ^= hash_ >> 29;  // upper bits of a word must reach the lower ones
  }

  std::uint64_t hash_ = 0xcbf29ce484222325ULL;
};

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
    sum.add(Tensors{{entry.name, to_file(entry.value, entry.layout)}});
  return sum.text();
}

void save_checkpoint(const std::string& path, const TrainingState& state, const Encoder& encoder,
                     const Adam& adam) {
  SafeTensors content{to_file(encoder, "encoder."), {}};
  const std::vector<Adam::State> adam_states = adam.state();
  for (std::size_t i = 0; i < adam_states.size(); ++i) {
    if (adam_states[i].steps == 0) continue;
    const Entry& entry = adam.entry(i);
    content.tensors[optimizer_name(entry, "exp_avg")] = to_file(adam_states[i].first, entry.layout);
    content.tensors[optimizer_name(entry, "exp_avg_sq")] = to_file(adam_states[i].second, entry.layout);
    content.tensors[optimizer_name(entry, "step")] = count_tensor(adam_states[i].steps);
  }
  Checksum sum;
  sum.add(content.tensors);
  content.metadata = {{"onemodel", "1"},
                      {"kind", kind},
                      {"latent", name_of(encoder.config().projection)},
                      {"iteration", std::to_string(state.iteration)},
                      {"position", std::to_string(state.position)},
                      {"random_seed", std::to_string(state.random.seed)},
                      {"random_draw", std::to_string(state.random.draw)},
                      {"settled", state.settled ? "1" : "0"},
                      {"config", state.settings},
                      {"generator", state.generator},
                      {"images", std::to_string(state.images)},
                      {"checksum", sum.text()}};
  write_safetensors(path, content);
}

TrainingState load_checkpoint(const std::string& path, const Encoder& encoder, Adam& adam) {
  const SafeTensors content = read_safetensors(path);
  const Metadata& metadata = content.metadata;
  if (metadata_text(path, metadata, "kind") != kind) fail<InputError>(path, ": not a training checkpoint");
  Checksum sum;
  sum.add(content.tensors);
  if (metadata_text(path, metadata, "checksum") != sum.text())
    fail<InputError>(path, ": its checksum does not hold");

  TrainingState state;
  state.iteration = metadata_number<std::int64_t>(path, metadata, "iteration");
  state.position = metadata_number<std::int64_t>(path, metadata, "position");
  state.random.seed = metadata_number<std::uint64_t>(path, metadata, "random_seed");
  state.random.draw = metadata_number<std::uint64_t>(path, metadata, "random_draw");
  state.settled = metadata_number<std::int64_t>(path, metadata, "settled") != 0;
  state.settings = metadata_text(path, metadata, "config");
  state.generator = metadata_text(path, metadata, "generator");
  state.images = metadata_number<std::int64_t>(path, metadata, "images");

  Checkpoint view{path, "safetensors", {}, metadata, {}};
  for (const auto& [name, tensor] : content.tensors)
    view.tensors[name] = {tensor.type, tensor.shape, [&tensor = tensor] { return tensor; }};
  fill(encoder, view, "encoder.");

  std::vector<Adam::State> adam_states;
  for (std::size_t i = 0; i < adam.parameters().size(); ++i)
    adam_states.push_back(adam_state(path, content.tensors, adam.entry(i)));
  adam.set_state(adam_states);
  return state;
}

}  // namespace om
