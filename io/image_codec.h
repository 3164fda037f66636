// Shared by the image files of this floor, not for users: names in errors, what a header may claim, how
// pixels grow.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/image.h"
#include "io/shown.h"
#include "tensor/error.h"

namespace om {

/// A file's name that keeps an error on one line.
inline std::string one_line(const std::filesystem::path& file) { return shown(file.native()); }

/// Refuses a header over the cap on pixels.
inline void check_claimed_size(int64_t width, int64_t height, std::string_view name) {
  if (width < 1 || height < 1) fail<InputError>(name, ": claims an empty image of ", width, "x", height);
  const int64_t most = PixelLimit::here();
  if (width > most || height > most || width * height > most) {
    fail<InputError>(name, ": ", width, "x", height, " pixels, over the limit of ", most / 1'000'000,
                     " megapixels");
  }
}

/// Refuses a header that claims more than so many bytes of compressed data could ever hold.
[[noreturn]] inline void fail_claim(int64_t width, int64_t height, size_t file_bytes, std::string_view name) {
  fail<InputError>(name, ": claims ", width, "x", height, " pixels, more than its ", file_bytes,
                   " bytes can hold");
}

/// Room for `needed` bytes of `total`, growing with what was decoded rather than with what was claimed.
inline void grow(std::vector<uint8_t>& pixels, size_t needed, size_t total) {
  if (needed > pixels.capacity()) {
    pixels.reserve(std::min(total, std::max({needed, 2 * pixels.capacity(), size_t{1} << 20})));
  }
  pixels.resize(needed);
}

/// Appends for a C callback, which no exception may cross: false where there is no memory.
inline bool append(std::vector<uint8_t>& out, std::span<const uint8_t> bytes) noexcept {
  try {
    out.insert(out.end(), bytes.begin(), bytes.end());
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace om
