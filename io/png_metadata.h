// Of io's own, not for users: what a PNG says of its orientation outside its pixels.
#pragma once

#include <cstdint>
#include <span>

namespace om {

/// The orientation (io/exif.h) of a PNG whose chunks lie within it, up to IEND.
int png_orientation(std::span<const uint8_t> file);

}  // namespace om
