// Pictures inside pages.
#include "io/data_url.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace om::test {
namespace {

std::string coded(const std::string& text) {
  return base64({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

std::vector<std::uint8_t> decoded(const std::string& url) {
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<std::uint8_t> bytes;
  std::uint32_t group = 0;
  int bits = 0;
  for (const char c : url.substr(url.find(',') + 1)) {
    if (c == '=') break;
    group = group << 6 | static_cast<std::uint32_t>(digits.find(c));
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push_back(static_cast<std::uint8_t>(group >> bits));
  }
  return bytes;
}

Image noisy(int height, int width) {
  Image image(height, width);
  std::uint32_t state = 1;
  for (std::uint8_t& value : image.pixels)
    value = static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  return image;
}

TEST(DataUrl, Base64IsThatOfTheRfc) {  // RFC 4648, section 10
  EXPECT_EQ(coded(""), "");
  EXPECT_EQ(coded("f"), "Zg==");
  EXPECT_EQ(coded("fo"), "Zm8=");
  EXPECT_EQ(coded("foo"), "Zm9v");
  EXPECT_EQ(coded("foob"), "Zm9vYg==");
  EXPECT_EQ(coded("fooba"), "Zm9vYmE=");
  EXPECT_EQ(coded("foobar"), "Zm9vYmFy");
  EXPECT_EQ(coded("\xfb\xff\xbf"), "+/+/");
}

TEST(DataUrl, APictureThatFitsKeepsItsPixels) {
  const Image image = noisy(20, 30);
  const std::string url = picture_url(image, 100'000);
  ASSERT_TRUE(url.starts_with("data:image/png;base64,"));
  EXPECT_EQ(decode_image(decoded(url), "url"), image);
}

TEST(DataUrl, OthersAreMadeToFit) {
  const Image image = noisy(200, 300);
  for (const std::size_t bytes : {60'000, 20'000, 5'000, 2'000}) {
    const std::string url = picture_url(image, bytes);
    ASSERT_TRUE(url.starts_with("data:image/jpeg;base64,"));
    EXPECT_LE(decoded(url).size(), bytes);
    EXPECT_GE(decode_image(decoded(url), "url").height, 16);
  }
  EXPECT_EQ(decode_image(decoded(picture_url(image, 60'000)), "url").width, 300);
  EXPECT_FALSE(picture_url(noisy(5, 400), 10).empty());  // cannot be had: as small as it gets
}

}  // namespace
}  // namespace om::test
