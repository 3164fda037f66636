#include "train/run_history.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "io/bytes.h"
#include "io/folder.h"
#include "tensor/error.h"
#include "train/config.h"
#include "train/flat_json.h"
#include "train/run_folder.h"
#include "train/stage.h"

namespace om {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::uint64_t kMaxJson = std::uint64_t{1} << 20;
constexpr std::size_t kMaxRows = 500;

/// A small file's text.
std::string text_of(const std::string& path) {
  const auto source = open_source(path);
  if (source->size() > kMaxJson) fail<InputError>(path, ": is longer than ", kMaxJson, " bytes");
  std::string content(source->size(), '\0');
  source->read_at(0, std::as_writable_bytes(std::span(content)));
  return content;
}

/// What stands for a value in a table of settings.
std::string shown_value(const JsonValue& value) {
  struct {
    std::string operator()(std::monostate) const { return "{..}"; }
    std::string operator()(std::nullptr_t) const { return "null"; }
    std::string operator()(bool yes) const { return yes ? "true" : "false"; }
    std::string operator()(std::int64_t whole) const { return std::to_string(whole); }
    std::string operator()(double number) const { return json_text(number); }
    std::string operator()(const std::string& words) const { return words; }
    std::string operator()(const std::vector<double>& list) const {
      std::string out;
      for (const double item : list) out += (out.empty() ? "" : ", ") + json_text(item);
      return out;
    }
  } show;
  return std::visit(show, value);
}

void read_settings(const RunFolder& folder, RunHistory& history) {
  if (!fs::exists(folder.config_file())) return;
  const std::string content = text_of(folder.config_file());
  const FlatJson object = read_flat_json(content);
  if (!object.valid || !object.is_object) fail<InputError>(folder.config_file(), ": is no JSON object");
  for (const auto& [key, value] : object.members) history.settings.emplace_back(key, shown_value(value));
  try {
    TrainConfig config;
    apply_json(config, content, folder.config_file());
    resolve_defaults(config);
    history.total = total_steps(config);
  } catch (const std::exception&) {  // settings of another time: shown as they are
  }
}

/// When a file was written, in seconds since 1970.
std::optional<std::int64_t> written_at(const std::string& path) {
  struct stat found {};
  if (::stat(path.c_str(), &found) != 0) return std::nullopt;
  return found.st_mtime;
}

std::optional<FoundTable> table_in(const std::string& path) {
  // Keys in their order are searched one by one: an object gets few more than a table may have columns.
  std::vector<std::size_t> keys;  // of each object that is open
  const auto bounded = [&](int depth, Json::parse_event_t event, const Json&) {
    const auto level = static_cast<std::size_t>(depth);
    if (event == Json::parse_event_t::object_start) {
      keys.resize(level);
      keys.push_back(0);
    }
    return event != Json::parse_event_t::key || ++keys.at(level - 1) <= kMaxSeries + 1;
  };
  const Json content = Json::parse(text_of(path), bounded, false);
  if (!content.is_object() || !content.contains("rows") || !content["rows"].is_array()) return std::nullopt;
  FoundTable table;
  for (const Json& row : content["rows"]) {
    if (!row.is_object() || table.rows.size() == kMaxRows) return std::nullopt;
    for (const auto& [key, value] : row.items())
      if (std::find(table.columns.begin(), table.columns.end(), key) == table.columns.end())
        table.columns.push_back(key);
    if (table.columns.size() > kMaxSeries) return std::nullopt;
    table.rows.emplace_back();
    for (const std::string& column : table.columns) {
      const auto found = row.find(column);
      const bool is_there = found != row.end() && !found->is_null();
      table.rows.back().push_back(!is_there                ? ""
                                  : found->is_string()     ? found->get<std::string>()
                                  : found->is_structured() ? "{..}"  // of any depth
                                                           : found->dump());
    }
  }
  for (auto& row : table.rows) row.resize(table.columns.size());
  if (table.rows.empty()) return std::nullopt;
  return table;
}

/// Calls take(path, name within the folder) for the files in the folder and two levels below it, sorted; a
/// run's own folders aside.
template <class Take>
void for_each_file(const std::string& folder, const std::string& within, int depth, std::size_t& left,
                   const Take& take) {
  std::error_code error;
  std::vector<std::string> names = names_in(folder, error);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    if (left == 0) return;
    --left;
    const std::string path = folder + "/" + name;
    const fs::file_status status = fs::status(path, error);
    if (fs::is_regular_file(status)) take(path, within + name);
    const bool own = within.empty() && (name == "checkpoints" || name == "samples" || name == "plans");
    if (fs::is_directory(status) && !own && depth > 0 && !fs::is_symlink(fs::symlink_status(path, error)))
      for_each_file(path, within + name + "/", depth - 1, left, take);
  }
}

std::vector<std::pair<std::int64_t, std::string>> samples_in(const RunFolder& folder) {
  std::vector<std::pair<std::int64_t, std::string>> samples;
  std::error_code error;
  if (!fs::is_directory(folder.samples_folder(), error)) return samples;
  for (const std::string& name : names_in(folder.samples_folder(), error)) {
    if (!name.ends_with(".png")) continue;
    std::int64_t iteration = -1;
    const char* end = name.data() + name.size() - 4;
    const auto [stop, problem] = std::from_chars(name.data(), end, iteration);
    if (problem == std::errc() && stop == end && iteration >= 0)
      samples.emplace_back(iteration, folder.samples_folder() + "/" + name);
  }
  std::sort(samples.begin(), samples.end());
  return samples;
}

}  // namespace

RunHistory read_run(const std::string& path) {
  const RunFolder folder(path);
  std::error_code error;
  if (!fs::is_directory(path, error)) fail<InputError>(path, ": is no folder of a run");
  RunHistory history;
  history.folder = path;
  const auto note = [&](const auto& read) {
    try {
      read();
    } catch (const InputError& problem) {
      history.notes.emplace_back(problem.what());
    }
  };
  note([&] { read_settings(folder, history); });
  history.trained_in = folder.is_trained_in();  // asked first: what it leaves behind is then read
  history.metrics = read_metrics(folder.metrics_file());
  history.written = written_at(folder.metrics_file());
  history.finished = fs::exists(folder.model_file(), error);
  history.samples = samples_in(folder);
  std::size_t left = kMaxFound;
  for_each_file(path, "", 2, left, [&](const std::string& file, const std::string& name) {
    if (name.ends_with(".png")) history.pictures.push_back(name);
    const bool own = name == "config.json" || name == "inputs.json";
    if (!name.ends_with(".json") || own) return;
    note([&] {
      if (std::optional<FoundTable> table = table_in(file)) {
        table->name = name;
        history.tables.push_back(std::move(*table));
      }
    });
  });
  if (history.metrics.lines + history.metrics.skipped == 0 && history.settings.empty() &&
      history.samples.empty() && history.tables.empty() && history.pictures.empty())
    fail<InputError>(path, ": holds no run: no config.json, metrics, samples, tables or pictures");
  return history;
}

std::string state_of_run(const std::string& path) {
  const RunFolder folder(path);
  std::error_code error;
  std::string state = folder.is_trained_in() ? "trained in\n" : "";
  for (const std::string& file :
       {folder.metrics_file(), folder.model_file(), folder.config_file(), folder.samples_folder(), path}) {
    const bool is_file = fs::is_regular_file(file, error);
    state += text(is_file ? fs::file_size(file, error) : 0, " ",
                  fs::last_write_time(file, error).time_since_epoch().count(), "\n");
  }
  return state;
}

}  // namespace om
