#include "examples/outputs.h"

#include <sys/stat.h>

#include <optional>

#include "io/atomic_file.h"
#include "tensor/error.h"

namespace om {
namespace {

constexpr std::size_t kLongestName = 255;  // bytes, on nearly every file system

/// Device and inode of what stands there, links followed.
std::optional<std::pair<std::uint64_t, std::uint64_t>> identity(const char* file) {
  struct stat status = {};
  if (::stat(file, &status) != 0) return std::nullopt;
  return std::pair<std::uint64_t, std::uint64_t>(status.st_dev, status.st_ino);
}

}  // namespace

OutputNames::OutputNames(std::filesystem::path folder, const std::vector<std::string>& inputs)
    : folder_(std::move(folder)) {
  for (const std::string& input : inputs)
    if (const auto known = identity(input.c_str())) inputs_.insert(*known);
}

std::filesystem::path OutputNames::operator()(const std::string& stem) {
  for (int number = 1;; ++number) {
    const std::string ending = number == 1 ? ".png" : text("-", number, ".png");
    const std::string name = std::string(cut_text(stem, kLongestName - ending.size())) + ending;
    if (taken_.contains(name) || leads_to_input(folder_ / name)) continue;
    taken_.insert(name);
    return folder_ / name;
  }
}

std::filesystem::path OutputNames::of(const std::string& input) {
  return (*this)(std::filesystem::path(input).stem().string());
}

bool OutputNames::leads_to_input(const std::filesystem::path& file) const {
  const auto there = identity(file.c_str());
  return there && inputs_.contains(*there);
}

}  // namespace om
