// A training run small enough for tests: a random StyleGAN 2 of 16 pixels and five coloured squares, one more
// file that is no image, and two images to validate on.
#pragma once

#include <atomic>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/harness/message.h"
#include "tests/io/scratch_folder.h"
#include "train/trainer.h"

namespace om::test {

class TinyRun {
 public:
  TinyRun();

  TrainConfig config;  ///< 6 iterations of batch 2, a checkpoint every 2, samples every 3
  std::vector<std::string> log;
  Backend* device = nullptr;  ///< where it runs; null: the processor

  /// Adds a perceptual loss: a VGG16 of so many channels a layer with random weights.
  void add_lpips(std::int64_t channels = 4);
  /// A StyleGAN 1 in the place of the generator.
  void use_stylegan1();
  /// Two stages of three steps each.
  void set_strategy(const std::string& strategy);

  std::string out(const std::string& name) const { return folder_ / name; }
  const ScratchFolder& folder() const { return folder_; }
  TrainResult run(const std::string& name, bool resume = false, TrainOptions options = {});

 private:
  ScratchFolder folder_;
};

/// A stop after so many steps.
struct StopAfter {
  explicit StopAfter(std::int64_t step) {
    options.stop = &flag;
    options.after_step = [this, step](const StepReport& report) { flag = report.iteration >= step; };
  }
  std::atomic<bool> flag = false;
  TrainOptions options;
};

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Every file below a folder by its relative path.
std::map<std::string, std::string> files_of(const std::filesystem::path& folder);

/// The names of both and those whose content differs, for a message; empty where the trees are equal.
std::string difference(const std::map<std::string, std::string>& a,
                       const std::map<std::string, std::string>& b);

}  // namespace om::test
