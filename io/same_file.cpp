#include "io/same_file.h"

#include <filesystem>
#include <system_error>

#include "io/bytes.h"
#include "tensor/error.h"

namespace om {

bool same_file(const std::string& a, const std::string& b) {
  namespace fs = std::filesystem;
  std::error_code error;
  const bool a_there = fs::exists(a, error), b_there = fs::exists(b, error);
  if (a_there && b_there) return fs::equivalent(a, b, error);  // device and inode
  if (a_there != b_there) return false;
  // As far as they exist, links are resolved: a broken link leads to the name that writing would make.
  const auto place = [](const std::string& path) {
    std::error_code problem;
    fs::path at = path;
    for (int hops = 0; hops < 40 && fs::is_symlink(at, problem); ++hops) {
      const fs::path target = fs::read_symlink(at, problem);
      at = target.is_absolute() ? target : at.parent_path() / target;
    }
    const fs::path whole = fs::weakly_canonical(fs::absolute(at, problem), problem);
    return problem ? at.lexically_normal() : whole;
  };
  return place(a) == place(b);
}

void refuse_overwriting(const std::string& output, const std::vector<std::string>& inputs) {
  for (const std::string& input : inputs)
    if (!input.empty() && same_file(output, input))
      fail<UsageError>(printable(output, 1000), ": is also an input, and would be overwritten");
}

}  // namespace om
