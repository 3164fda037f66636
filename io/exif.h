// Which way up a photograph is: the orientation tag of EXIF (TIFF tag 0x0112 of the first directory) and its
// effect.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "io/image.h"

namespace om {

/// The orientation, 1 to 8, in a block of EXIF (a TIFF header and directory, with or without "Exif\0\0"
/// before it); nothing where there is none or the block is broken, which is no error.
std::optional<int> exif_orientation(std::span<const uint8_t> block);

/// The same for the content of a JPEG APP1 marker, which must begin with "Exif\0\0".
std::optional<int> exif_marker_orientation(std::span<const uint8_t> marker);

/// The orientation in the XMP packet of a JPEG APP1 marker, which some programs write instead.
std::optional<int> xmp_marker_orientation(std::span<const uint8_t> marker);

/// The image turned and mirrored so that it stands as its orientation says; for 1 and unknown values, as it
/// is.
Image oriented(Image image, int orientation);

}  // namespace om
