// The libraries that this floor reads and writes files with, as they were found when the program started.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace om {

/// Names and versions.
std::vector<std::pair<std::string, std::string>> library_versions();

}  // namespace om
