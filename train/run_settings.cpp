#include "train/run_settings.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "io/same_file.h"
#include "io/shown.h"
#include "tensor/error.h"
#include "tensor/registry.h"

namespace om {
namespace {

/// What a resumed run may find elsewhere, what tells it, and how a difference is said.
struct Movable {
  const char* name;
  std::string TrainConfig::*path;
  std::string RunInputs::*content;
  const char* what;
};
constexpr const char* kWeights = "whose weights";
constexpr const char* kListing = "whose files' names or sizes";
constexpr Movable kMovable[] = {
    {"generator", &TrainConfig::generator, &RunInputs::generator, kWeights},
    {"images", &TrainConfig::images, &RunInputs::images, kListing},
    {"val", &TrainConfig::val, &RunInputs::val, kListing},
    {"init", &TrainConfig::init, &RunInputs::init, kWeights},
    {"lpips", &TrainConfig::lpips, &RunInputs::lpips, kWeights},
    {"lpips_heads", &TrainConfig::lpips_heads, &RunInputs::lpips, kWeights},
};

std::string absolute(const std::string& path) {
  return path.empty() ? path : std::filesystem::absolute(path).lexically_normal().string();
}

bool take(std::vector<std::string>& keys, const char* name) {
  const auto key = std::find(keys.begin(), keys.end(), name);
  if (key == keys.end()) return false;
  keys.erase(key);
  return true;
}

/// The run's own settings, with what the caller may change in them.
RunSettings resumed(const TrainConfig& given, std::vector<std::string> keys, const RunFolder& folder) {
  RunSettings settings;
  TrainConfig& stored = settings.config;
  apply_json_file(stored, folder.config_file());
  resolve_defaults(stored);
  if (given.iterations > stored.iterations && take(keys, "iterations")) stored.iterations = given.iterations;
  if (take(keys, "checkpoint_activations")) stored.checkpoint_activations = given.checkpoint_activations;
  for (const Movable& input : kMovable) {
    std::string& path = stored.*input.path;
    const std::string& now = given.*input.path;
    if (path.empty() || now.empty() || same_file(path, now) || !take(keys, input.name)) continue;
    path = absolute(now);
    settings.moved.emplace_back(input.name);
  }
  expect_equal(stored, given, keys);
  check(stored);
  return settings;
}

}  // namespace

RunSettings resolve_settings(const TrainConfig& given, const TrainOptions& options, const RunFolder& folder) {
  if (options.out.empty()) fail<UsageError>("'out' is missing: the folder of the run");
  if (options.resume && folder.has_settings()) return resumed(given, options.given, folder);
  if (!options.resume && folder.holds_a_run())
    fail<UsageError>(folder.path(),
                     ": holds a run already; --resume continues it, another --out starts a new one");
  if (folder.holds_a_run())
    fail<InputError>(folder.config_file(), ": is missing, so the run cannot be resumed");
  if (options.resume && (given.generator.empty() || given.images.empty()))
    fail<UsageError>(folder.path(), ": holds no run to resume");
  if (options.resume && options.log) options.log(folder.path() + ": holds no run yet; this one begins");
  RunSettings settings{given, {}};
  for (const Movable& input : kMovable) settings.config.*input.path = absolute(given.*input.path);
  check(settings.config);
  resolve_defaults(settings.config);
  return settings;
}

RunSettings shared_settings(const TrainConfig& given, const TrainOptions& options, const RunFolder& folder,
                            const RunRanks& ranks) {
  if (ranks.first()) {
    RunSettings settings = resolve_settings(given, options, folder);
    ranks.share(to_json(settings.config, true));
    return settings;
  }
  RunSettings settings;
  apply_json(settings.config, ranks.share(""), "rank 0's settings");
  return settings;
}

void expect_same_inputs(const RunInputs& before, const RunInputs& now, const RunSettings& settings,
                        bool checkpoint_tells) {
  for (const Movable& input : kMovable) {
    if (std::find(settings.moved.begin(), settings.moved.end(), input.name) == settings.moved.end()) continue;
    const std::string& content = before.*input.content;
    if (content == now.*input.content) continue;
    if (content.empty() && checkpoint_tells && input.content == &RunInputs::lpips) continue;
    fail<UsageError>("'", input.name, "' is ", shown(settings.config.*input.path), ", ", input.what,
                     content.empty() ? " cannot be compared with those of the run: it did not keep them"
                                     : " are not those that the run began with");
  }
}

LoaderOptions loader_options(const TrainConfig& config, std::int64_t size, int threads,
                             const Backend& backend, int rank, int ranks) {
  // A processor that computes the steps has no time for more.
  if (threads == 0) threads = backend.host_memory() ? 2 : std::clamp(om::threads() / 2, 2, 8);
  LoaderOptions options;
  options.size = static_cast<int>(size);
  options.batch = static_cast<int>(config.batch);
  options.seed = static_cast<std::uint64_t>(config.seed);
  options.threads = threads;
  options.rank = rank;
  options.ranks = ranks;
  if (config.task != "denoise") return options;
  // Which noise a picture gets follows from its place in the stream: another in each epoch, the same on
  // resuming.
  options.make_pair = [settings = config.denoise_settings(), sigmas = config.sigmas, side = options.size,
                       seed = options.seed](const Image& image, std::int64_t position) {
    const std::uint64_t picture = picture_of(position);
    return denoise_pair(image, draw_sigma(sigmas, seed, picture), settings, side, seed, picture);
  };
  return options;
}

RunPictures::MakePair validation_pairs(const TrainConfig& config, std::int64_t size) {
  if (config.task != "denoise") return {};
  return [settings = config.denoise_settings(), sigmas = config.sigmas, side = static_cast<int>(size),
          seed = static_cast<std::uint64_t>(config.seed)](const Image& image) {
    const std::uint64_t picture = picture_of(image);
    return denoise_pair(image, draw_sigma(sigmas, seed, picture), settings, side, seed, picture);
  };
}

}  // namespace om
