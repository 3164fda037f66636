#include "train/path_text.h"

#include <string_view>

#include "io/bytes.h"

namespace om {
namespace {

constexpr std::string_view kMark = "bytes:";
constexpr std::string_view kDigits = "0123456789ABCDEF";

/// The value of a hexadecimal digit, of either case.
std::optional<unsigned> digit(char c) {
  const char upper = c >= 'a' && c <= 'f' ? static_cast<char>(c - 'a' + 'A') : c;
  const std::size_t at = kDigits.find(upper);
  return at == std::string_view::npos ? std::nullopt : std::optional(static_cast<unsigned>(at));
}

}  // namespace

std::string text_of_path(const std::string& path) {
  if (is_utf8_text(path) && !path.starts_with(kMark)) return path;
  std::string text(kMark);
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7F && c != '%') {
      text += c;
    } else {
      text += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return text;
}

std::optional<std::string> path_of_text(const std::string& text) {
  if (!text.starts_with(kMark)) return text;
  std::string path;
  for (std::size_t i = kMark.size(); i < text.size(); ++i) {
    if (text[i] != '%') {
      path += text[i];
      continue;
    }
    const auto high = i + 1 < text.size() ? digit(text[i + 1]) : std::nullopt;
    const auto low = i + 2 < text.size() ? digit(text[i + 2]) : std::nullopt;
    if (!high || !low) return std::nullopt;
    path += static_cast<char>(*high << 4 | *low);
    i += 2;
  }
  return path;
}

}  // namespace om
