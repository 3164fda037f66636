// Which engine each convolution was found to run fastest on, in a file: timing them takes a moment, and
// another engine rounds differently, so a run that must repeat its bits has to find the same choice again.
//
// One line a convolution: what it is (dtypes, sizes, strides, epilogue), its engine's number, its knobs. A
// file belongs to one card and one version of cuDNN; its name says which. Files are replaced atomically,
// after what another process added meanwhile was read.
#pragma once

#include <map>
#include <string>

#include "tensor/cuda/cudnn.h"

namespace om::cuda {

class PlanFile {
 public:
  PlanFile() = default;
  /// Reads the file if there is one; lines that make no sense are passed over.
  explicit PlanFile(std::string path);

  /// Null where the file has none.
  const Engine* find(const std::string& convolution) const;
  /// Keeps a choice, in the file too where it can be written; false where it can't.
  bool keep(const std::string& convolution, const Engine& engine);
  const std::string& path() const { return path_; }

 private:
  void read();

  std::string path_;
  std::map<std::string, Engine, std::less<>> engines_;
};

/// "conv2d ... | plain 17 2=1 12=0": after the bar the graph's form, the engine's number and its knobs.
std::string line_of(const std::string& convolution, const Engine& engine);

}  // namespace om::cuda
