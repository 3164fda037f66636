#include "train/config.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <type_traits>
#include <variant>

#include "io/bytes.h"
#include "io/suggest.h"

namespace om {
namespace {

using Json = nlohmann::ordered_json;
using Field = std::variant<std::string TrainConfig::*, std::int64_t TrainConfig::*, double TrainConfig::*,
                           std::optional<double> TrainConfig::*>;

constexpr double unbounded = std::numeric_limits<double>::max();

struct Key {
  const char* name;
  Field field;
  bool path = false;
  double low = -unbounded, high = unbounded;  // of numbers
};

const std::vector<Key>& table() {
  using C = TrainConfig;
  static const std::vector<Key> keys = {
      {"generator", &C::generator, true},
      {"images", &C::images, true},
      {"val", &C::val, true},
      {"lpips", &C::lpips, true},
      {"lpips_heads", &C::lpips_heads, true},
      {"iterations", &C::iterations, false, 0, 1e12},
      {"batch", &C::batch, false, 1, 65536},
      {"lr", &C::lr, false, 0, 1e30},
      {"lr_min", &C::lr_min, false, 0, 1e30},
      {"lr_noise_heads", &C::lr_noise_heads, false, 0, 1e30},
      {"beta1", &C::beta1, false, 0, std::nextafter(1.0, 0.0)},
      {"beta2", &C::beta2, false, 0, std::nextafter(1.0, 0.0)},
      {"eps", &C::eps, false, 0, 1},
      {"weight_decay", &C::weight_decay, false, 0, 1e6},
      {"clip_norm", &C::clip_norm, false, 0, 1e30},
      {"encoder_width", &C::encoder_width, false, 1e-3, 64},
      {"latent", &C::latent},
      {"seed", &C::seed, false, 0},
      {"checkpoint_every", &C::checkpoint_every, false, 1, 1e12},
      {"keep_checkpoints", &C::keep_checkpoints, false, 0, 1e12},
      {"sample_every", &C::sample_every, false, 0, 1e12},
      {"log_every", &C::log_every, false, 1, 1e12},
  };
  return keys;
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

/// Parses text into a flat object; nothing nested, nothing twice.
Json parse_flat(std::string_view json, const std::string& name) {
  std::set<std::string> seen;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    using Event = Json::parse_event_t;
    const bool opens = event == Event::object_start || event == Event::array_start;
    if (opens && depth > 0)
      fail<InputError>(name, ": settings are one flat JSON object, nothing in them nests");
    if (event == Event::key && !seen.insert(parsed.get<std::string>()).second)
      fail<InputError>(name, ": key '", printable(parsed.get<std::string>()), "' stands twice");
    return true;
  };
  Json object;
  try {
    object = Json::parse(json, watch);
  } catch (const Json::parse_error& error) {
    fail<InputError>(name, ": no valid JSON at byte ", error.byte);
  } catch (const Json::exception&) {
    fail<InputError>(name, ": no valid JSON");
  }
  if (!object.is_object()) fail<InputError>(name, ": settings are a JSON object {..}");
  return object;
}

double number(const Json& value, const std::string& name, const char* key) {
  if (!value.is_number()) fail<InputError>(name, ": '", key, "' expects a number");
  return value.get<double>();
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
        if constexpr (std::is_same_v<T, std::optional<double>>) {
          return config.*field ? complaint(*(config.*field)) : "";
        } else if constexpr (std::is_same_v<T, std::string>) {
          return "";
        } else {
          return complaint(static_cast<double>(config.*field));
        }
      },
      key.field);
}

void read_value(TrainConfig& config, const Key& key, const Json& value, const std::string& name) {
  std::visit(
      [&](auto field) {
        auto& target = config.*field;
        using T = std::remove_reference_t<decltype(target)>;
        if constexpr (std::is_same_v<T, std::string>) {
          if (!value.is_string()) fail<InputError>(name, ": '", key.name, "' expects a text");
          target = value.get<std::string>();
        } else if constexpr (std::is_same_v<T, std::int64_t>) {
          const double x = number(value, name, key.name);
          const bool fits =
              value.is_number_float() ? std::abs(x) < 9e15 && x == std::floor(x) : std::abs(x) < 9.2e18;
          if (!fits) fail<InputError>(name, ": '", key.name, "' expects a whole number");
          target = value.is_number_float() ? static_cast<std::int64_t>(x) : value.get<std::int64_t>();
        } else {
          if (std::is_same_v<T, std::optional<double>> && value.is_null()) {
            target = T{};
          } else {
            target = number(value, name, key.name);
          }
        }
      },
      key.field);
}

std::string place(const std::string& path) {
  if (path.empty()) return path;
  std::error_code error;
  const std::filesystem::path real =
      std::filesystem::weakly_canonical(std::filesystem::absolute(path), error);
  return error ? path : real.string();
}

}  // namespace

Projection TrainConfig::projection() const { return latent == "z" ? Projection::z : Projection::wplus; }

const std::vector<ConfigKey>& config_keys() {
  static const std::vector<ConfigKey> keys = [] {
    std::vector<ConfigKey> out;
    for (const Key& key : table()) out.push_back({key.name, key.path});
    return out;
  }();
  return keys;
}

std::vector<std::string> apply_json(TrainConfig& config, std::string_view json, const std::string& name) {
  const Json object = parse_flat(json, name);
  std::vector<std::string> keys;
  for (const auto& [word, value] : object.items()) {
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
  return apply_json(config, content, path);
}

std::string to_json(const TrainConfig& config, bool paths) {
  Json object = Json::object();
  for (const Key& key : table()) {
    if (key.path && !paths) continue;
    std::visit(
        [&](auto field) {
          if constexpr (std::is_same_v<decltype(field), std::optional<double> TrainConfig::*>) {
            object[key.name] = config.*field ? Json(*(config.*field)) : Json(nullptr);
          } else {
            object[key.name] = config.*field;
          }
        },
        key.field);
  }
  // a path need not be UTF-8; such bytes are replaced
  return object.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
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
            if constexpr (std::is_same_v<decltype(field), std::optional<double> TrainConfig::*>) {
              return config.*field ? text(*(config.*field)) : std::string("unset");
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

void check(const TrainConfig& config) {
  for (const Key& key : table())
    if (const std::string complaint = range_complaint(config, key); !complaint.empty())
      fail<UsageError>(complaint);
  if (config.generator.empty()) fail<UsageError>("'generator' is missing: the checkpoint of the generator");
  if (config.images.empty()) fail<UsageError>("'images' is missing: the folder to train on");
  if (config.latent != "wplus" && config.latent != "z")
    fail<UsageError>("'latent' must be wplus or z, got '", printable(config.latent), "'");
  if (config.lr_min > config.lr)
    fail<UsageError>("'lr_min' must not exceed 'lr', got ", config.lr_min, " and ", config.lr);
  if (config.keep_checkpoints == 1) fail<UsageError>("'keep_checkpoints' must be 0 (all) or at least 2");
  if (config.lpips.empty() != config.lpips_heads.empty())
    fail<UsageError>(config.lpips.empty() ? "'lpips_heads' needs 'lpips', the backbone"
                                          : "'lpips' needs 'lpips_heads', the weights of its layers");
}

}  // namespace om
