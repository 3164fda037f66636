#include "train/run_inputs.h"

#include <fmt/format.h>

#include <filesystem>
#include <span>

#include "io/atomic_file.h"
#include "io/bytes.h"
#include "io/shown.h"
#include "tensor/error.h"
#include "train/flat_json.h"

namespace om {
namespace {

constexpr std::size_t kMaxBytes = 1 << 16;

struct Member {
  const char* name;
  std::string RunInputs::*value;
  bool always = true;  // written where it is empty too
};
constexpr Member kMembers[] = {{"generator", &RunInputs::generator},
                               {"images", &RunInputs::images},
                               {"val", &RunInputs::val},
                               {"init", &RunInputs::init, false},
                               {"lpips", &RunInputs::lpips, false}};

}  // namespace

std::string listing_of(const ImageFolder& folder) {
  std::uint64_t hash = 0xcbf29ce484222325U;  // FNV-1a of 64 bits
  const auto add = [&](std::string_view bytes) {
    for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  };
  for (const std::filesystem::path& file : folder.files()) {
    std::error_code error;
    const std::uintmax_t bytes = std::filesystem::file_size(file, error);
    add(file.lexically_relative(folder.folder()).string());
    // No name ends in a slash and a number. A link that leads nowhere is skipped when it is to be read.
    add(error ? "/-\n" : fmt::format("/{}\n", bytes));
  }
  return fmt::format("{} files, {:016x}", folder.size(), hash);
}

void write_run_inputs(const std::string& path, const RunInputs& inputs) {
  std::string json;
  for (const Member& member : kMembers) {
    if (!member.always && (inputs.*member.value).empty()) continue;
    json += fmt::format("{}\n  \"{}\": {}", json.empty() ? "{" : ",", member.name,
                        json_text(inputs.*member.value));
  }
  json += "\n}\n";
  write_file(path, std::as_bytes(std::span(json)));
}

RunInputs read_run_inputs(const std::string& path) {
  RunInputs inputs;
  if (!std::filesystem::exists(path)) return inputs;
  const auto source = open_source(path);
  if (source->size() > kMaxBytes) fail<InputError>(shown(path), ": too large for what it should be");
  std::string content(static_cast<std::size_t>(source->size()), '\0');
  source->read_at(0, std::as_writable_bytes(std::span(content)));
  const FlatJson json = read_flat_json(content);
  if (!json.valid || !json.is_object || json.nests) fail<InputError>(shown(path), ": is broken");
  for (const auto& [name, value] : json.members)
    for (const Member& member : kMembers)
      if (const auto* text = std::get_if<std::string>(&value); text != nullptr && name == member.name)
        inputs.*member.value = *text;
  return inputs;
}

}  // namespace om
