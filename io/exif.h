// Which way up a photograph is: the orientation tag of EXIF (TIFF tag 0x0112 of the first directory) or of
// XMP, and its effect.
//
// Where both stand the EXIF tag wins, whatever its value, as in Pillow's ImageOps.exif_transpose.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "io/image.h"

namespace om {

/// The orientation in a block of EXIF (a TIFF header and directory, with or without "Exif\0\0" before it); 0
/// where the tag is there and holds no number. Only 1 to 8 mean something. Nothing where there is no tag or
/// the block is broken, which is no error.
std::optional<int> exif_orientation(std::span<const uint8_t> block);

/// The first tiff:Orientation of an XMP packet, as an attribute or as an element: 0 to 9.
std::optional<int> xmp_orientation(std::string_view packet);

/// What a file with these blocks (empty where it has none) says of itself; 1 where it says nothing.
int orientation_of(std::span<const uint8_t> exif, std::string_view xmp);

/// True where the content of a JPEG's APP1 marker is EXIF or XMP.
bool is_exif_marker(std::span<const uint8_t> marker);
bool is_xmp_marker(std::span<const uint8_t> marker);

/// The bytes as characters.
inline std::string_view characters(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The image turned and mirrored so that it stands as its orientation says; for 1 and unknown values, as it
/// is.
Image oriented(Image image, int orientation);

}  // namespace om
