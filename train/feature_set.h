// Inception features of folders of images, kept by content so that they are computed once, and the exchange
// of their mean and covariance with pytorch-fid.
//
// A set's key is a checksum of the images' bytes, the size they are resized to, the variant and the network's
// weights: names and dates play no part.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "train/fid.h"

namespace om {

struct FidNetwork {
  std::unique_ptr<Inception> inception;
  std::string fingerprint;  ///< of its weights
};

FidNetwork load_fid_network(const std::string& path, Backend& backend);

/// Features on disk, one safetensors file a set.
class FeatureCache {
 public:
  /// An empty path keeps nothing.
  explicit FeatureCache(std::filesystem::path folder = {}) : folder_(std::move(folder)) {}
  /// XDG_CACHE_HOME/onemodel/features, else ~/.cache/onemodel/features; empty where neither is known.
  static std::filesystem::path standard_folder();

  /// [images, width]; nothing where the set is not there or its file is not whole.
  std::optional<std::vector<float>> find(const std::string& key, std::int64_t width) const;
  /// A folder that cannot be written is no error: the features are then computed again next time.
  void keep(const std::string& key, const std::vector<float>& features, std::int64_t width) const;

 private:
  std::filesystem::path folder_;
};

/// What long work over images tells and asks.
struct ImageHooks {
  std::function<void(const std::string& line)> say = [](const std::string&) {};
  std::function<void()> image_done = [] {};
  std::function<void()> check = [] {};  ///< may throw, to stop
};

/// What becomes of images before their features are taken.
struct FeatureImages {
  std::int64_t side = 0;                   ///< they are resized to; 0: as they are
  bool grey = false;                       ///< grey first
  std::optional<std::int64_t> batch = {};  ///< where all have one size; unset: the backend's default
};

/// The features of every readable image. Unreadable ones are said and left out. InputError where none can be
/// read.
std::vector<float> folder_features(const std::vector<std::filesystem::path>& files,
                                   const FeatureImages& images, FidVariant variant, const FidNetwork& network,
                                   const FeatureCache& cache, Backend& backend, const ImageHooks& hooks);

/// pytorch-fid's .npz: mu [width] and sigma [width, width]. InputError naming the file.
FeatureStatistics read_statistics(const std::string& path);
void write_statistics(const std::string& path, const FeatureStatistics& statistics);

}  // namespace om
