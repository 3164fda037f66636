// The settings of a training run, and their JSON form: one flat object whose keys are the fields' names.
// Paths that are not UTF-8 are written as train/path_text.h says.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/encoder.h"
#include "train/denoise.h"

namespace om {

struct TrainConfig {
  // paths
  std::string generator;    ///< checkpoint of the frozen decoder
  std::string init;         ///< model whose encoder (of two the latent one) is the start; empty: fresh values
  std::string images;       ///< folder to train on
  std::string val;          ///< folder to measure on; empty: none
  std::string lpips;        ///< torchvision backbone; empty: mean squared error alone
  std::string lpips_heads;  ///< the lpips package's heads for it
  bool recursive = false;   ///< the folders with their subfolders
  /// Recompute activations in the backward pass: less memory, more time, the same bits.
  bool checkpoint_activations = false;
  // settings
  std::string task = "reconstruct";               ///< or "denoise": see train/denoise.h
  std::vector<double> sigmas = kSigmas;           ///< of the noise, drawn from for each picture
  std::string noise_channels = "independent";     ///< or "shared"
  std::string noise_at = "file";                  ///< or "model"
  bool grey = false;                              ///< pictures and noise
  std::string strategy = "plain";                 ///< or "two-networks", "learning-rate": see train/stage.h
  std::int64_t iterations = 100'000;              ///< of the last stage
  std::optional<std::int64_t> stage1_iterations;  ///< of the first of two; iterations where unset
  std::int64_t batch = 4;                         ///< of each rank
  bool sync_batch_norm = false;   ///< norms by the statistics of all ranks' batches; not in files while false
  std::int64_t norm_batches = 0;  ///< at a stage's end norms take the mean of so many; not in files while 0
  double lr = 1e-4;
  double lr_min = 1e-8;
  std::optional<double> lr_noise_heads;  ///< rate of the noise heads; lr where unset
  std::optional<double> backbone_rate;   ///< times lr, all but the noise heads in stage 2; 0.01 where unset
  double beta1 = 0.5;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 1e-4;
  double clip_norm = 1;            ///< 0: no clipping
  double encoder_width = 1;        ///< times the generator's channels
  std::string latent = "wplus";    ///< or "z"
  std::string precision = "fp32";  ///< or "tf32", "bf16"; runs older than the key computed in fp32
  std::int64_t seed = 0;
  std::int64_t checkpoint_every = 1000;
  std::int64_t keep_checkpoints = 0;  ///< 0: all of them; else the newest, at least 2
  std::int64_t sample_every = 1000;   ///< 0: no sample sheets
  std::int64_t log_every = 1;         ///< iterations per line of metrics.jsonl

  Projection projection() const;
  DenoiseSettings denoise_settings() const;
  bool two_stages() const { return strategy != "plain"; }
};

/// Names of all keys, and whether each is a path.
struct ConfigKey {
  std::string name;
  bool path;
};
const std::vector<ConfigKey>& config_keys();
/// The value of a key that is a path.
const std::string& path_of(const TrainConfig& config, const std::string& key);

/// Sets the keys that a JSON text holds and returns them. InputError `NAME: reason` where the text is no flat
/// JSON object, a key is unknown (with the nearest known one), stands twice or has a value of the wrong type.
std::vector<std::string> apply_json(TrainConfig& config, std::string_view json, const std::string& name);

/// The same from a file of at most 1 MiB; relative paths in it are relative to the file's folder.
std::vector<std::string> apply_json_file(TrainConfig& config, const std::string& path);

/// One object, keys in the order above, a final newline. Without paths it is what checkpoints hold.
std::string to_json(const TrainConfig& config, bool paths);

/// Copies the named keys.
void overlay(TrainConfig& into, const TrainConfig& from, const std::vector<std::string>& keys);

/// UsageError naming the first of `keys` in which the two differ: what a resumed run may not change. Paths
/// are compared as places, not as texts.
void expect_equal(const TrainConfig& stored, const TrainConfig& given, const std::vector<std::string>& keys);

/// Gives the settings that follow from others their values, so that a stored configuration says them.
void resolve_defaults(TrainConfig& config);

/// UsageError naming the first value that is out of range, missing or contradicts another.
void check(const TrainConfig& config);

}  // namespace om
