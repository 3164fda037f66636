#include "io/data_url.h"

#include <algorithm>
#include <vector>

#include "io/resize.h"

namespace om {

std::string base64(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) group = group << 8 | (k < count ? bytes[i + k] : 0U);
    for (std::size_t k = 0; k < 4; ++k) out += k <= count ? digits[group >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

std::string data_url(std::string_view type, std::span<const std::uint8_t> bytes) {
  return "data:" + std::string(type) + ";base64," + base64(bytes);
}

std::string picture_url(const Image& image, std::size_t bytes) {
  const std::vector<std::uint8_t> png = encode_png(image);
  if (png.size() <= bytes) return data_url("image/png", png);
  Image smaller = image;
  while (true) {
    std::vector<std::uint8_t> jpeg;
    for (const int quality : {92, 80, 65}) {
      jpeg = encode_jpeg(smaller, quality);
      if (jpeg.size() <= bytes) return data_url("image/jpeg", jpeg);
    }
    if (std::min(smaller.height, smaller.width) <= 16) return data_url("image/jpeg", jpeg);
    smaller =
        resize_bilinear(smaller, std::max(16, smaller.height * 2 / 3), std::max(16, smaller.width * 2 / 3));
  }
}

}  // namespace om
