// EXIF 2.3, section 4.5 (TIFF layout) and 4.6.4 (orientation); XMP specification, part 2 (tiff:Orientation).
#include "io/exif.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

namespace om {
namespace {

/// Numbers at offsets of a TIFF block, in its byte order; nothing where the block ends before.
class TiffBlock {
 public:
  TiffBlock(std::span<const uint8_t> bytes, bool big_endian) : bytes_(bytes), big_endian_(big_endian) {}

  bool holds(uint64_t offset, uint64_t size) const {
    return offset <= bytes_.size() && size <= bytes_.size() - offset;
  }

  std::optional<uint32_t> number(uint64_t offset, unsigned size) const {
    if (!holds(offset, size)) return std::nullopt;
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

constexpr std::string_view kExifName("Exif\0\0", 6);
constexpr std::string_view kXmpName("http://ns.adobe.com/xap/1.0/\0", 29);
constexpr uint32_t kOrientationTag = 0x0112;

/// TIFF's types of numbers and texts, by their number; 0 bytes for those that do not exist.
constexpr std::array<uint8_t, 17> kTypeBytes = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8};

std::optional<double> floating(const TiffBlock& block, uint64_t at, unsigned bytes, bool big_endian) {
  const std::optional<uint32_t> first = block.number(at, 4);
  if (bytes == 4) return first ? std::optional<double>(std::bit_cast<float>(*first)) : std::nullopt;
  const std::optional<uint32_t> second = block.number(at + 4, 4);
  if (!first || !second) return std::nullopt;
  const uint64_t high = big_endian ? *first : *second, low = big_endian ? *second : *first;
  return std::bit_cast<double>(high << 32 | low);
}

/// The first number at `at`; nothing for texts and bytes.
std::optional<double> number_of_type(const TiffBlock& block, uint64_t at, uint32_t type, bool big_endian) {
  const auto whole = [&](unsigned bytes) -> std::optional<double> {
    const auto value = block.number(at, bytes);
    return value ? std::optional<double>(*value) : std::nullopt;
  };
  const auto ratio = [&]() -> std::optional<double> {
    const auto above = block.number(at, 4), below = block.number(at + 4, 4);
    if (!above || !below || *below == 0) return std::nullopt;
    return static_cast<double>(*above) / *below;
  };
  switch (type) {  // negative numbers mean nothing here: their signs need no care
    case 3:
    case 8: return whole(2);
    case 4:
    case 9:
    case 13: return whole(4);
    case 6: return whole(1);
    case 5:
    case 10: return ratio();
    case 11: return floating(block, at, 4, big_endian);
    case 12: return floating(block, at, 8, big_endian);
    case 16:
      return big_endian ? (block.number(at, 4) == 0U ? block.number(at + 4, 4) : std::nullopt)
                        : (block.number(at + 4, 4) == 0U ? block.number(at, 4) : std::nullopt);
    default: return std::nullopt;
  }
}

/// The value of a directory's entry; 0 where it is no whole number of one digit. Nothing where the entry is
/// broken, which then counts as not there.
std::optional<int> entry_value(const TiffBlock& block, uint64_t entry, bool big_endian) {
  const std::optional<uint32_t> type = block.number(entry + 2, 2), count = block.number(entry + 4, 4),
                                place = block.number(entry + 8, 4);
  if (!type || !count || !place || *type >= kTypeBytes.size()) return std::nullopt;
  const uint64_t bytes = uint64_t{*count} * kTypeBytes[*type];
  if (bytes == 0) return std::nullopt;
  const uint64_t at = bytes > 4 ? *place : entry + 8;
  if (!block.holds(at, bytes)) return std::nullopt;
  const double value = number_of_type(block, at, *type, big_endian).value_or(0);
  return value >= 0 && value <= 9 && value == std::floor(value) ? static_cast<int>(value) : 0;
}

}  // namespace

std::optional<int> exif_orientation(std::span<const uint8_t> block) {
  for (int i = 0; i < 2; ++i)  // some programs write it twice
    if (characters(block).starts_with(kExifName)) block = block.subspan(kExifName.size());
  const std::string_view head = characters(block).substr(0, 4);
  using namespace std::string_view_literals;  // they keep a zero byte
  const bool little = head == "II*\0"sv || head == "II\0*"sv, big = head == "MM\0*"sv || head == "MM*\0"sv;
  if (!little && !big) return std::nullopt;
  const TiffBlock tiff(block, big);
  const std::optional<uint32_t> directory = tiff.number(4, 4);
  if (!directory) return std::nullopt;
  const uint32_t entries = tiff.number(*directory, 2).value_or(0);
  for (uint32_t i = 0; i < entries; ++i) {
    const uint64_t entry = uint64_t{*directory} + 2 + uint64_t{i} * 12;
    if (tiff.number(entry, 2) != kOrientationTag) continue;
    if (const std::optional<int> value = entry_value(tiff, entry, big)) return value;
  }
  return std::nullopt;
}

std::optional<int> xmp_orientation(std::string_view packet) {
  constexpr std::string_view name = "tiff:Orientation";
  for (size_t at = packet.find(name); at != std::string_view::npos; at = packet.find(name, at)) {
    at += name.size();
    std::string_view rest = packet.substr(at);
    // As an attribute, tiff:Orientation="6", or as an element, <tiff:Orientation>6.
    for (const std::string_view opening : {"=\"", ">"}) {
      if (!rest.starts_with(opening) || rest.size() == opening.size()) continue;
      if (const char digit = rest[opening.size()]; digit >= '0' && digit <= '9') return digit - '0';
    }
  }
  return std::nullopt;
}

int orientation_of(std::span<const uint8_t> exif, std::string_view xmp) {
  if (const std::optional<int> value = exif_orientation(exif)) return *value;
  return xmp_orientation(xmp).value_or(1);
}

bool is_exif_marker(std::span<const uint8_t> marker) { return characters(marker).starts_with(kExifName); }

bool is_xmp_marker(std::span<const uint8_t> marker) { return characters(marker).starts_with(kXmpName); }

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
