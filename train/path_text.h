// Paths in JSON. A path is bytes, a JSON text is Unicode: a path that is not UTF-8 (old archives, other
// systems' disks) is written as
//
//   bytes:/photos/caf%E9
//
// with %XX for each byte that is not a printable ASCII character, and for % itself. Any other path stands as
// it is; one that begins with `bytes:` is written this way too, so that what was read is what was written.
#pragma once

#include <optional>
#include <string>

namespace om {

/// The text that stands for a path.
std::string text_of_path(const std::string& path);

/// The path that a text stands for; nothing where it begins with `bytes:` and is no such text.
std::optional<std::string> path_of_text(const std::string& text);

}  // namespace om
