// Pictures of a run that cannot be read: each is named and counted once, by rank 0, whichever ranks met it.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "train/run_ranks.h"

namespace om {

class UnreadablePictures {
 public:
  using Log = std::function<void(const std::string&)>;
  /// `log` is rank 0's. What is passed must outlive it.
  UnreadablePictures(RunRanks& ranks, Log log) : ranks_(ranks), log_(std::move(log)) {}

  /// `why` names the file and the reason.
  void add(const std::string& why);
  /// These, and what other ranks have met so far.
  void add(const std::vector<std::string>& all);
  /// Names what other ranks have met so far; nothing on those.
  void hear();
  /// So far; on rank 0 of all ranks, as far as they were heard.
  std::int64_t count() const { return static_cast<std::int64_t>(named_.size()); }

 private:
  RunRanks& ranks_;
  Log log_;
  std::set<std::string> named_;
};

}  // namespace om
