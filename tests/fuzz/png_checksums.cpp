#include "tests/fuzz/png_checksums.h"

#include <zlib.h>

#include <cstddef>

namespace om::fuzz {

void mend_png_checksums(std::span<std::uint8_t> file) {
  constexpr std::size_t signature = 8, around = 12;  // a chunk: length 4, type 4, data, checksum 4
  for (std::size_t at = signature; at + around <= file.size();) {
    const std::uint8_t* chunk = file.data() + at;
    const std::size_t length = std::size_t{chunk[0]} << 24 | std::size_t{chunk[1]} << 16 |
                               std::size_t{chunk[2]} << 8 | std::size_t{chunk[3]};
    if (length > file.size() - at - around) return;
    const auto checksum = crc32(0, chunk + 4, static_cast<unsigned>(4 + length));
    for (std::size_t i = 0; i < 4; ++i)
      file[at + 8 + length + i] = static_cast<std::uint8_t>(checksum >> (24 - 8 * i));
    at += around + length;
  }
}

}  // namespace om::fuzz
