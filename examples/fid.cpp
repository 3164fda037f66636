// onemodel fid: the Fréchet Inception distance of two sets of images, or of their stored statistics.
#include <fmt/core.h>

#include <filesystem>
#include <iostream>
#include <memory>

#include "examples/common.h"
#include "io/image_folder.h"
#include "io/inception_file.h"
#include "io/same_file.h"
#include "io/shown.h"
#include "train/feature_set.h"
#include "train/flat_json.h"
#include "train/progress.h"

namespace om {
namespace {

struct FidOptions {
  std::string a, b, inception, save, cache, variant = "pytorch-fid";
  bool recursive = false, json = false;
};

/// A folder's images, or a file of statistics where `files` is empty.
struct Side {
  std::string path;
  std::vector<std::filesystem::path> files;
  std::int64_t images = 0;  ///< 0: unknown
};

Side side_of(const std::string& path, bool recursive) {
  std::error_code error;
  if (std::filesystem::is_regular_file(path, error)) return {path, {}, 0};
  return {path, ImageFolder(path, recursive).files(), 0};
}

class Sets {
 public:
  Sets(const FidOptions& options, const Common& common) : options_(options), session_(common) {
    sides_.push_back(side_of(options.a, options.recursive));
    if (!options.b.empty()) sides_.push_back(side_of(options.b, options.recursive));
    for (const Side& side : sides_) total_ += static_cast<std::int64_t>(side.files.size());
    if (total_ == 0) return;
    if (options.inception.empty())
      fail<UsageError>("fid: a folder of images needs --inception FILE, pytorch-fid's weights: ",
                       kInceptionSource);
    network_ = load_fid_network(options.inception, session_.backend());
    cache_ = FeatureCache(options.cache.empty() ? FeatureCache::standard_folder()
                                                : std::filesystem::path(options.cache));
    progress_ = std::make_unique<Progress>();
  }

  const Side& side(std::size_t i) const { return sides_[i]; }

  FeatureStatistics statistics(std::size_t i) {
    Side& side = sides_[i];
    if (side.files.empty()) return read_statistics(side.path);
    ImageHooks hooks;
    hooks.say = [this](const std::string& line) { progress_->line(line); };
    hooks.check = stop_if_interrupted;
    hooks.image_done = [this] { progress_->advance(++done_, total_, 1, ""); };
    const FidVariant variant = options_.variant == "authors" ? FidVariant::authors : FidVariant::pytorch_fid;
    const std::int64_t width = network_.inception->features();
    const std::vector<float> features =
        folder_features(side.files, {}, variant, network_, cache_, session_.backend(), hooks);
    side.images = static_cast<std::int64_t>(features.size()) / width;
    if (side.images < 2) fail<InputError>(side.path, ": holds one readable image, FID needs two");
    if (side.images < kFewImages)
      progress_->line(text(side.path, ": ", side.images, " images; under ", kFewImages,
                           " the distance depends on their number more than on what they show"));
    return FeatureStatistics::of_features(features, width);
  }

 private:
  const FidOptions& options_;
  Session session_;
  std::vector<Side> sides_;
  FidNetwork network_;
  FeatureCache cache_;
  std::unique_ptr<Progress> progress_;
  std::int64_t done_ = 0, total_ = 0;
};

int measure_fid(const FidOptions& options, const Common& common) {
  if (options.b.empty() && options.save.empty())
    fail<UsageError>("fid: expects two sets of images, or one and --save");
  if (!options.save.empty()) {
    refuse_overwriting(options.save, {options.a, options.b, options.inception});
    expect_writable(options.save);
  }
  catch_interrupts();
  Sets sets(options, common);
  const FeatureStatistics a = sets.statistics(0);
  if (!options.save.empty()) {
    write_statistics(options.save, a);
    note(text("statistics of ", options.a, " in ", options.save));
  }
  if (options.b.empty()) return kDone;
  const double distance = frechet_distance(a, sets.statistics(1));
  if (options.json) {
    const auto images = [&](std::size_t i) {
      return sets.side(i).images == 0 ? std::string("null") : text(sets.side(i).images);
    };
    std::cout << fmt::format(
        "{{\"a\": {}, \"images_a\": {}, \"b\": {}, \"images_b\": {}, \"variant\": {}, \"fid\": {}}}\n",
        json_text(options.a), images(0), json_text(options.b), images(1), json_text(options.variant),
        json_text(distance));
  } else {
    std::cout << fmt::format("FID ({}) {:.6g}\n", options.variant, distance);
  }
  return kDone;
}

Command fid_command() {
  auto o = std::make_shared<FidOptions>();
  return {
      "fid",
      "Measure the Fréchet Inception distance of two sets of images",
      {{"A", "", &o->a, "Folder of images, or .npz with mu and sigma as pytorch-fid writes it", kRequired},
       {"B", "", &o->b, "The other set; may be left out with --save"},
       {"--inception", "FILE", &o->inception, "pytorch-fid's Inception weights; folders need them"},
       {"--save", "FILE.npz", &o->save, "Write mean and covariance of A, for pytorch-fid and for later"},
       {"--variant",
        "pytorch-fid|authors",
        &o->variant,
        "Images in [0, 1] as pytorch-fid has them (default), or in [-1, 1] as the paper's authors",
        false,
        {"pytorch-fid", "authors"}},
       {"--recursive", "", &o->recursive, "Read the images in the folders' subfolders as well"},
       {"--cache", "DIR", &o->cache, "Where features are kept (default ~/.cache/onemodel/features)"},
       {"--json", "", &o->json, "Print the figure as JSON"}},
      [o](const Common& common) { return measure_fid(*o, common); },
      "FID of tables 1 and 3-5"};
}

const Subcommand here(fid_command);

}  // namespace
}  // namespace om
