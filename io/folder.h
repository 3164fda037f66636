// What stands in a folder.
//
// Not std::filesystem's iterators: libstdc++'s end the process where memory runs out (their constructors are
// noexcept and allocate).
#pragma once

#include <string>
#include <system_error>
#include <vector>

namespace om {

/// The names in a folder, but for . and .., in no order. Where it cannot be read, `error` says why and the
/// names found so far are returned; OutOfMemory where memory is what is missing.
std::vector<std::string> names_in(const std::string& folder, std::error_code& error);

}  // namespace om
