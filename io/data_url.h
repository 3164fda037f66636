// Pictures inside a page: data URLs (RFC 2397), and a picture made to fit a number of bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "io/image.h"

namespace om {

/// RFC 4648, section 4, with padding.
std::string base64(std::span<const std::uint8_t> bytes);

/// data:TYPE;base64,..
std::string data_url(std::string_view type, std::span<const std::uint8_t> bytes);

/// The picture as PNG where that takes at most `bytes`, else as JPEG of the first quality and size that does:
/// 92, 80, 65, then two thirds of the sides again and again, down to 16 pixels.
std::string picture_url(const Image& image, std::size_t bytes);

}  // namespace om
