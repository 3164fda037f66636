// Names for the pictures that a command writes, one for each that it read.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace om {

/// Names in one folder: the input's without its ending, with .png, and with a number where that is taken, by
/// another result or by one of the inputs, which are never written over, through no link either. What would
/// be longer than a file system allows is shortened.
class OutputNames {
 public:
  /// `inputs`: every file that the command reads.
  OutputNames(std::filesystem::path folder, const std::vector<std::string>& inputs);

  /// The path for a result named `stem`.
  std::filesystem::path operator()(const std::string& stem);
  /// The path for the result of an input.
  std::filesystem::path of(const std::string& input);

 private:
  bool leads_to_input(const std::filesystem::path& file) const;

  std::filesystem::path folder_;
  std::set<std::string> taken_;
  std::set<std::pair<std::uint64_t, std::uint64_t>> inputs_;  // device and inode
};

}  // namespace om
