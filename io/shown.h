// Texts of others, file names above all, on a terminal: what would move its cursor, change its colours or
// turn its direction is shown as \\xNN.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace om {

/// Bytes of the character that `text` begins with, where that may be shown as it is; 0 where its first byte
/// is to be escaped: control characters (also those of 8 bits, U+0080 to U+009F), separators of lines, marks
/// that turn the direction, and what is not UTF-8.
std::size_t showable(std::string_view text);

/// The text with such bytes escaped. One line.
std::string shown(std::string_view text);

}  // namespace om
