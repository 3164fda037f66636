#include "train/checkpoint.h"

#include "io/bytes.h"
#include "io/model_file.h"
#include "train/checkpoint_parts.h"

namespace om {
namespace {

using Metadata = std::map<std::string, std::string>;

constexpr const char* kind = "training checkpoint";
constexpr const char* format = "2";

}  // namespace

std::string fingerprint(const Module& module) {
  Checksum sum;
  for (const Entry& entry : module.entries()) add(sum, {{entry.name, to_file(entry.value, entry.layout)}});
  return sum.text();
}

void save_checkpoint(const std::string& path, const TrainingState& state, const Autoencoder& model,
                     const Adam& adam) {
  SafeTensors content;
  for (const auto& [name, encoder] : model.encoders()) content.tensors.merge(to_file(*encoder, name + "."));
  put_adam(content.tensors, adam);
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
  if (state.ranks > 1) content.metadata["ranks"] = std::to_string(state.ranks);
  content.metadata["checksum"] = checksum_of(content);
  write_safetensors(path, content);
}

TrainingCheckpoint::TrainingCheckpoint(const std::string& path)
    : path_(path), content_(read_safetensors(path)) {
  const Metadata& metadata = content_.metadata;
  if (metadata_text(path, content_, "kind") != kind) fail<InputError>(path, ": not a training checkpoint");
  // A file that lost its "format" is none of the old kind either: its checksum is of all.
  old_ = !metadata.contains("format");
  if (!old_ && metadata.at("format") != format)
    fail<InputError>(path, ": a checkpoint of format '", printable(metadata.at("format")),
                     "', which this program does not know");
  Checksum tensors_alone;
  if (old_) add(tensors_alone, content_.tensors);
  if (metadata_text(path, content_, "checksum") != (old_ ? tensors_alone.text() : checksum_of(content_)))
    fail<InputError>(path, ": its checksum does not hold");

  state_.iteration = metadata_number<std::int64_t>(path, content_, "iteration");
  state_.position = metadata_number<std::int64_t>(path, content_, "position");
  state_.random.seed = metadata_number<std::uint64_t>(path, content_, "random_seed");
  state_.random.draw = metadata_number<std::uint64_t>(path, content_, "random_draw");
  state_.settled = metadata_number<std::int64_t>(path, content_, "settled") != 0;
  state_.settings = metadata_text(path, content_, "config");
  state_.generator = metadata_text(path, content_, "generator");
  state_.images = metadata_number<std::int64_t>(path, content_, "images");
  if (metadata.contains("ranks")) state_.ranks = metadata_number<std::int64_t>(path, content_, "ranks");
  if (old_) return;
  state_.lpips = metadata_text(path, content_, "lpips");
  state_.metrics = metadata_text(path, content_, "metrics");
}

void TrainingCheckpoint::fill(const Autoencoder& model, Adam& adam) const {
  const Checkpoint view = view_of(path_, content_);
  for (const auto& [name, encoder] : model.encoders()) om::fill(*encoder, view, name + ".");
  adam.set_state(get_adam(path_, content_.tensors, adam));
}

}  // namespace om
