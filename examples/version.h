// What this program is: `onemodel --version`.
#pragma once

#include <string>

namespace om {

/// Version, commit, backends and libraries, a line each.
std::string version_text();

}  // namespace om
