// EXIF 2.3, section 4.5 (TIFF layout) and 4.6.4 (orientation).
#include "io/exif.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace om {
namespace {

/// Numbers at offsets of a TIFF block, in its byte order; nothing where the block ends before.
class TiffBlock {
 public:
  TiffBlock(std::span<const uint8_t> bytes, bool big_endian) : bytes_(bytes), big_endian_(big_endian) {}

  std::optional<uint32_t> number(uint64_t offset, unsigned size) const {
    if (offset + size > bytes_.size()) return std::nullopt;
    uint32_t value = 0;
    for (unsigned i = 0; i < size; ++i) {
      const uint8_t byte = bytes_[offset + (big_endian_ ? i : size - 1 - i)];
      value = value << 8 | byte;
    }
    return value;
  }

 private:
  std::span<const uint8_t> bytes_;
  bool big_endian_;
};

bool begins_with(std::span<const uint8_t> bytes, std::string_view text) {
  return bytes.size() >= text.size() && std::memcmp(bytes.data(), text.data(), text.size()) == 0;
}

constexpr std::string_view kExifName("Exif\0\0", 6);
constexpr std::string_view kXmpName("http://ns.adobe.com/xap/1.0/\0", 29);
constexpr uint32_t kOrientationTag = 0x0112;

std::optional<int> valid(std::optional<uint32_t> value) {
  if (!value || *value < 1 || *value > 8) return std::nullopt;
  return static_cast<int>(*value);
}

/// The value of a directory entry with one number in it. Shorts and longs stand in the entry itself.
std::optional<uint32_t> entry_value(const TiffBlock& block, uint64_t entry) {
  if (block.number(entry + 4, 4) != 1U) return std::nullopt;
  switch (block.number(entry + 2, 2).value_or(0)) {
    case 3: return block.number(entry + 8, 2);
    case 4: return block.number(entry + 8, 4);
    default: return std::nullopt;
  }
}

}  // namespace

std::optional<int> exif_orientation(std::span<const uint8_t> block) {
  if (begins_with(block, kExifName)) block = block.subspan(kExifName.size());
  const bool little = begins_with(block, std::string_view("II*\0", 4));
  const bool big = begins_with(block, std::string_view("MM\0*", 4));
  if (!little && !big) return std::nullopt;
  const TiffBlock tiff(block, big);
  const std::optional<uint32_t> directory = tiff.number(4, 4);
  if (!directory) return std::nullopt;
  const uint32_t entries = tiff.number(*directory, 2).value_or(0);
  for (uint32_t i = 0; i < entries; ++i) {
    const uint64_t entry = uint64_t{*directory} + 2 + uint64_t{i} * 12;
    if (tiff.number(entry, 2) == kOrientationTag) return valid(entry_value(tiff, entry));
  }
  return std::nullopt;
}

std::optional<int> exif_marker_orientation(std::span<const uint8_t> marker) {
  if (!begins_with(marker, kExifName)) return std::nullopt;
  return exif_orientation(marker);
}

std::optional<int> xmp_marker_orientation(std::span<const uint8_t> marker) {
  if (!begins_with(marker, kXmpName)) return std::nullopt;
  const std::string_view packet(reinterpret_cast<const char*>(marker.data()), marker.size());
  // As an attribute, tiff:Orientation="6", or as an element, <tiff:Orientation>6.
  for (const std::string_view opening : {"tiff:Orientation=\"", "tiff:Orientation>"}) {
    const size_t at = packet.find(opening);
    if (at == std::string_view::npos || at + opening.size() >= packet.size()) continue;
    return valid(static_cast<uint32_t>(packet[at + opening.size()] - '0'));
  }
  return std::nullopt;
}

Image oriented(Image image, int orientation) {
  if (orientation < 2 || orientation > 8) return image;
  const bool transposed = orientation >= 5;
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  Image result = transposed ? Image(image.width, image.height) : Image(image.height, image.width);
  for (int y = 0; y < result.height; ++y) {
    uint8_t* out = result.row(y);
    for (int x = 0; x < result.width; ++x, out += 3) {
      int from_y = transposed ? x : y;
      int from_x = transposed ? y : x;
      if (from_bottom) from_y = image.height - 1 - from_y;
      if (from_right) from_x = image.width - 1 - from_x;
      std::copy_n(image.row(from_y) + static_cast<size_t>(from_x) * 3, 3, out);
    }
  }
  return result;
}

}  // namespace om
