#include "train/config.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <set>
#include <type_traits>
#include <variant>

#include "io/bytes.h"
#include "io/suggest.h"
#include "train/flat_json.h"
#include "train/path_text.h"
#include "train/precision_choice.h"

namespace om {
namespace {

using Field = std::variant<std::string TrainConfig::*, std::int64_t TrainConfig::*, double TrainConfig::*,
                           std::optional<double> TrainConfig::*, std::optional<std::int64_t> TrainConfig::*,
                           bool TrainConfig::*, std::vector<double> TrainConfig::*>;

template <class T>
constexpr bool is_optional = false;
template <class T>
constexpr bool is_optional<std::optional<T>> = true;

constexpr double unbounded = std::numeric_limits<double>::max();

struct Key {
  const char* name;
  Field field;
  bool path = false;  // or else something that no number depends on: not in what checkpoints hold
  double low = -unbounded, high = unbounded;  // of numbers
  bool only_if_set = false;                   // files of runs without it (false, 0) do not name it
};

const std::vector<Key>& table() {
  using C = TrainConfig;
  static const std::vector<Key> keys = {
      {"generator", &C::generator, true},
      {"init", &C::init, true},
      {"images", &C::images, true},
      {"val", &C::val, true},
      {"recursive", &C::recursive, true},  // where pictures lie, as the paths say it
      {"lpips", &C::lpips, true},
      {"lpips_heads", &C::lpips_heads, true},
      {"checkpoint_activations", &C::checkpoint_activations, true},  // changes no number: not in checkpoints
      {"task", &C::task},
      {"sigmas", &C::sigmas, false, 0, kMaxSigma},
      {"noise_channels", &C::noise_channels},
      {"noise_at", &C::noise_at},
      {"grey", &C::grey},
      {"strategy", &C::strategy},
      {"iterations", &C::iterations, false, 0, 1e12},
      {"stage1_iterations", &C::stage1_iterations, false, 0, 1e12},
      {"batch", &C::batch, false, 1, 65536},
      {"sync_batch_norm", &C::sync_batch_norm, false, -unbounded, unbounded, true},
      {"norm_batches", &C::norm_batches, false, 0, 1e6, true},
      {"lr", &C::lr, false, 0, 1e30},
      {"lr_min", &C::lr_min, false, 0, 1e30},
      {"lr_noise_heads", &C::lr_noise_heads, false, 0, 1e30},
      {"backbone_rate", &C::backbone_rate, false, 0, 1e6},
      {"beta1", &C::beta1, false, 0, std::nextafter(1.0, 0.0)},
      {"beta2", &C::beta2, false, 0, std::nextafter(1.0, 0.0)},
      {"eps", &C::eps, false, 0, 1},
      {"weight_decay", &C::weight_decay, false, 0, 1e6},
      {"clip_norm", &C::clip_norm, false, 0, 1e30},
      {"encoder_width", &C::encoder_width, false, 1e-3, 64},
      {"latent", &C::latent},
      {"precision", &C::precision},
      {"seed", &C::seed, false, 0},
      {"checkpoint_every", &C::checkpoint_every, false, 1, 1e12},
      {"keep_checkpoints", &C::keep_checkpoints, false, 0, 1e12},
      {"sample_every", &C::sample_every, false, 0, 1e12},
      {"log_every", &C::log_every, false, 1, 1e12},
  };
  return keys;
}

bool is_set(const TrainConfig& config, const Field& field) {
  if (const auto* number = std::get_if<std::int64_t TrainConfig::*>(&field)) return config.**number != 0;
  return config.*std::get<bool TrainConfig::*>(field);
}

const Key* find_key(const std::string& name) {
  for (const Key& key : table())
    if (name == key.name) return &key;
  return nullptr;
}

std::vector<std::string> names() {
  std::vector<std::string> names;
  for (const Key& key : table()) names.emplace_back(key.name);
  return names;
}

using Members = std::vector<std::pair<std::string, JsonValue>>;

/// The members of a flat object; nothing nested, nothing twice.
Members parse_settings(std::string_view json, const std::string& name) {
  FlatJson parsed = read_flat_json(json);
  if (parsed.nests) fail<InputError>(name, ": settings are one flat JSON object, nothing in them nests");
  std::set<std::string> seen;
  for (const auto& [key, value] : parsed.members)
    if (!seen.insert(key).second) fail<InputError>(name, ": key '", printable(key), "' stands twice");
  if (parsed.broken_at) fail<InputError>(name, ": no valid JSON at byte ", *parsed.broken_at);
  if (!parsed.valid) fail<InputError>(name, ": no valid JSON");
  if (!parsed.is_object) fail<InputError>(name, ": settings are a JSON object {..}");
  return std::move(parsed.members);
}

double number(const JsonValue& value, const std::string& name, const char* key) {
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return static_cast<double>(*whole);
  if (const auto* x = std::get_if<double>(&value)) return *x;
  fail<InputError>(name, ": '", key, "' expects a number");
}

/// "must lie between .." where a number is out of its key's range, else empty.
std::string range_complaint(const TrainConfig& config, const Key& key) {
  const auto complaint = [&](double x) {
    const bool inside = x >= key.low && x <= key.high;
    return inside ? "" : text("'", key.name, "' must lie between ", key.low, " and ", key.high, ", got ", x);
  };
  return std::visit(
      [&](auto field) -> std::string {
        using T = std::remove_cvref_t<decltype(config.*field)>;
        if constexpr (is_optional<T>) {
          return config.*field ? complaint(static_cast<double>(*(config.*field))) : "";
        } else if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, bool>) {
          return "";
        } else if constexpr (std::is_same_v<T, std::vector<double>>) {
          std::string first;
          for (const double x : config.*field) first = first.empty() ? complaint(x) : first;
          return first;
        } else {
          return complaint(static_cast<double>(config.*field));
        }
      },
      key.field);
}

void read_value(TrainConfig& config, const Key& key, const JsonValue& value, const std::string& name) {
  const auto whole_number = [&] {
    const double x = number(value, name, key.name);
    const auto* whole = std::get_if<std::int64_t>(&value);
    const bool fits = whole ? std::abs(x) < 9.2e18 : std::abs(x) < 9e15 && x == std::floor(x);
    if (!fits) fail<InputError>(name, ": '", key.name, "' expects a whole number");
    return whole ? *whole : static_cast<std::int64_t>(x);
  };
  std::visit(
      [&](auto field) {
        auto& target = config.*field;
        using T = std::remove_reference_t<decltype(target)>;
        if constexpr (std::is_same_v<T, std::string>) {
          const auto* words = std::get_if<std::string>(&value);
          if (words == nullptr) fail<InputError>(name, ": '", key.name, "' expects a text");
          const std::optional<std::string> path = key.path ? path_of_text(*words) : *words;
          if (!path) fail<InputError>(name, ": '", key.name, "' begins with bytes: and holds a broken %XX");
          target = *path;
        } else if constexpr (std::is_same_v<T, bool>) {
          const auto* flag = std::get_if<bool>(&value);
          if (flag == nullptr) fail<InputError>(name, ": '", key.name, "' expects true or false");
          target = *flag;
        } else if constexpr (std::is_same_v<T, std::vector<double>>) {
          const auto* list = std::get_if<std::vector<double>>(&value);
          if (list == nullptr)
            fail<InputError>(name, ": '", key.name, "' expects a list of numbers, [5, 10]");
          target = *list;
        } else if (is_optional<T> && std::holds_alternative<std::nullptr_t>(value)) {
          target = T{};
        } else if constexpr (std::is_same_v<T, double> || std::is_same_v<T, std::optional<double>>) {
          target = number(value, name, key.name);
        } else {
          target = whole_number();
        }
      },
      key.field);
}

std::string list_text(const std::vector<double>& list) {
  std::string out;
  for (const double x : list) out += (out.empty() ? "[" : ", ") + json_text(x);
  return out.empty() ? "[]" : out + "]";
}

std::string place(const std::string& path) {
  if (path.empty()) return path;
  std::error_code error;
  const std::filesystem::path real =
      std::filesystem::weakly_canonical(std::filesystem::absolute(path), error);
  return error ? path : real.string();
}

}  // namespace

DenoiseSettings TrainConfig::denoise_settings() const {
  return {om::noise_at(noise_at), om::noise_channels(noise_channels), grey};
}

Projection TrainConfig::projection() const { return latent == "z" ? Projection::z : Projection::wplus; }

const std::vector<ConfigKey>& config_keys() {
  static const std::vector<ConfigKey> keys = [] {
    std::vector<ConfigKey> out;
    for (const Key& key : table())
      out.push_back({key.name, key.path && std::holds_alternative<std::string TrainConfig::*>(key.field)});
    return out;
  }();
  return keys;
}

const std::string& path_of(const TrainConfig& config, const std::string& name) {
  const Key* key = find_key(name);
  if (key == nullptr || !key->path) fail("config: no path '", name, "'");
  return config.*std::get<std::string TrainConfig::*>(key->field);
}

std::vector<std::string> apply_json(TrainConfig& config, std::string_view json, const std::string& name) {
  std::vector<std::string> keys;
  for (const auto& [word, value] : parse_settings(json, name)) {
    const Key* key = find_key(word);
    if (key == nullptr)
      fail<InputError>(name, ": unknown key '", printable(word), "'", suggestion(word, names()));
    read_value(config, *key, value, name);
    if (const std::string complaint = range_complaint(config, *key); !complaint.empty())
      fail<InputError>(name, ": ", complaint);
    keys.push_back(word);
  }
  return keys;
}

std::vector<std::string> apply_json_file(TrainConfig& config, const std::string& path) {
  const auto source = open_source(path);
  if (source->size() > (std::uint64_t{1} << 20)) fail<InputError>(path, ": too large for a settings file");
  std::string content(static_cast<std::size_t>(source->size()), '\0');
  source->read_at(0, std::as_writable_bytes(std::span(content)));
  const std::vector<std::string> keys = apply_json(config, content, path);
  for (const std::string& name : keys) {
    const Key& key = *find_key(name);
    if (!key.path) continue;
    if (auto* place = std::get_if<std::string TrainConfig::*>(&key.field); place && !(config.**place).empty())
      config.** place = (std::filesystem::path(path).parent_path() / (config.**place)).string();
  }
  return keys;
}

std::string to_json(const TrainConfig& config, bool paths) {
  std::string out;
  for (const Key& key : table()) {
    if (key.path && !paths) continue;
    if (key.only_if_set && !is_set(config, key.field)) continue;
    const std::string value = std::visit(
        [&](auto field) -> std::string {
          const auto& x = config.*field;
          using T = std::remove_cvref_t<decltype(x)>;
          if constexpr (std::is_same_v<T, std::optional<double>>) {
            return x ? json_text(*x) : "null";
          } else if constexpr (std::is_same_v<T, std::optional<std::int64_t>>) {
            return x ? std::to_string(*x) : "null";
          } else if constexpr (std::is_same_v<T, std::int64_t>) {
            return std::to_string(x);
          } else if constexpr (std::is_same_v<T, bool>) {
            return x ? "true" : "false";
          } else if constexpr (std::is_same_v<T, std::vector<double>>) {
            return list_text(x);
          } else if constexpr (std::is_same_v<T, std::string>) {
            return json_text(key.path ? text_of_path(x) : x);
          } else {
            return json_text(x);
          }
        },
        key.field);
    out += (out.empty() ? "{\n  \"" : ",\n  \"") + std::string(key.name) + "\": " + value;
  }
  return out + "\n}\n";
}

void overlay(TrainConfig& into, const TrainConfig& from, const std::vector<std::string>& keys) {
  for (const std::string& name : keys) {
    const Key* key = find_key(name);
    if (key == nullptr) fail("config: no key '", name, "'");
    std::visit([&](auto field) { into.*field = from.*field; }, key->field);
  }
}

void expect_equal(const TrainConfig& stored, const TrainConfig& given, const std::vector<std::string>& keys) {
  for (const std::string& name : keys) {
    const Key* key = find_key(name);
    if (key == nullptr) fail("config: no key '", name, "'");
    const bool equal = std::visit(
        [&](auto field) {
          if constexpr (std::is_same_v<decltype(field), std::string TrainConfig::*>) {
            if (key->path) return place(stored.*field) == place(given.*field);
          }
          return stored.*field == given.*field;
        },
        key->field);
    if (equal) continue;
    const auto shown = [&](const TrainConfig& config) {
      return std::visit(
          [&](auto field) {
            if constexpr (is_optional<std::remove_cvref_t<decltype(config.*field)>>) {
              return config.*field ? text(*(config.*field)) : std::string("unset");
            } else if constexpr (std::is_same_v<decltype(field), std::vector<double> TrainConfig::*>) {
              return list_text(config.*field);
            } else if constexpr (std::is_same_v<decltype(field), bool TrainConfig::*>) {
              return std::string(config.*field ? "true" : "false");
            } else {
              return text(config.*field);
            }
          },
          key->field);
    };
    fail<UsageError>("'", name, "' is ", shown(given), ", but the run to resume has ", shown(stored),
                     "; a resumed run keeps its settings");
  }
}

void resolve_defaults(TrainConfig& config) {
  if (config.two_stages() && !config.stage1_iterations) config.stage1_iterations = config.iterations;
  if (config.strategy == "learning-rate" && !config.backbone_rate) config.backbone_rate = 0.01;
}

void check(const TrainConfig& config) {
  for (const Key& key : table())
    if (const std::string complaint = range_complaint(config, key); !complaint.empty())
      fail<UsageError>(complaint);
  if (config.generator.empty()) fail<UsageError>("'generator' is missing: the checkpoint of the generator");
  if (config.images.empty()) fail<UsageError>("'images' is missing: the folder to train on");
  if (config.task != "reconstruct" && config.task != "denoise")
    fail<UsageError>("'task' must be reconstruct or denoise, got '", printable(config.task), "'");
  if (config.noise_at != "file" && config.noise_at != "model")
    fail<UsageError>("'noise_at' must be file or model, got '", printable(config.noise_at), "'");
  if (config.noise_channels != "independent" && config.noise_channels != "shared")
    fail<UsageError>("'noise_channels' must be independent or shared, got '",
                     printable(config.noise_channels), "'");
  if (config.sigmas.empty()) fail<UsageError>("'sigmas' names none to draw from");
  if (config.latent != "wplus" && config.latent != "z")
    fail<UsageError>("'latent' must be wplus or z, got '", printable(config.latent), "'");
  precision_named(config.precision);
  if (config.strategy != "plain" && config.strategy != "two-networks" && config.strategy != "learning-rate")
    fail<UsageError>("'strategy' must be plain, two-networks or learning-rate, got '",
                     printable(config.strategy), "'");
  if (config.stage1_iterations && !config.two_stages())
    fail<UsageError>("'stage1_iterations' needs a strategy of two stages, two-networks or learning-rate");
  if (config.backbone_rate && config.strategy != "learning-rate")
    fail<UsageError>("'backbone_rate' needs the strategy learning-rate");
  if (config.lr_noise_heads && config.strategy == "two-networks")
    fail<UsageError>("'lr_noise_heads' has no use with two networks: each trains as one, at 'lr'");
  if (config.lr_min > config.lr)
    fail<UsageError>("'lr_min' must not exceed 'lr', got ", config.lr_min, " and ", config.lr);
  if (config.keep_checkpoints == 1) fail<UsageError>("'keep_checkpoints' must be 0 (all) or at least 2");
  if (config.lpips.empty() != config.lpips_heads.empty())
    fail<UsageError>(config.lpips.empty() ? "'lpips_heads' needs 'lpips', the backbone"
                                          : "'lpips' needs 'lpips_heads', the weights of its layers");
}

}  // namespace om
