// A training run small enough for tests: a random StyleGAN 2 of 16 pixels and five coloured squares, one more
// file that is no image, and two images to validate on.
#pragma once

#include <atomic>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/io/scratch_folder.h"
#include "train/trainer.h"

namespace om::test {

class TinyRun {
 public:
  TinyRun();

  TrainConfig config;  ///< 6 iterations of batch 2, a checkpoint every 2, samples every 3
  std::vector<std::string> log;

  std::string out(const std::string& name) const { return folder_ / name; }
  const ScratchFolder& folder() const { return folder_; }
  TrainResult run(const std::string& name, bool resume = false, TrainOptions options = {});

 private:
  ScratchFolder folder_;
};

/// Every file below a folder by its relative path.
std::map<std::string, std::string> files_of(const std::filesystem::path& folder);

/// The names of both and those whose content differs, for a message; empty where the trees are equal.
std::string difference(const std::map<std::string, std::string>& a,
                       const std::map<std::string, std::string>& b);

}  // namespace om::test
