// Resizing equals Pillow bit for bit: hashes of what Pillow 13.0.0 made of pictures that a formula gives, and
// of the same in two calls (width, then height), which is the order of Pillow up to version 12.
#include "io/resize.h"

#include <gtest/gtest.h>

#include "tensor/error.h"

namespace om::test {
namespace {

/// Steep and without symmetry, so that a wrong weight or border shows.
Image formula_image(int height, int width) {
  Image image(height, width);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) {
        image.at(y, x, c) =
            static_cast<uint8_t>((x * x * 7 + y * y * 13 + x * y * (c + 1) * 3 + c * 85) % 256);
      }
    }
  }
  return image;
}

uint64_t fnv1a(const Image& image) {
  uint64_t hash = 0xcbf29ce484222325U;
  for (const uint8_t byte : image.pixels) hash = (hash ^ byte) * 0x100000001b3U;
  return hash;
}

struct Golden {
  int from_height, from_width, height, width;
  uint64_t pillow13, rows_first;
};

constexpr Golden kGolden[] = {
    {64, 64, 32, 32, 0x83205d5bb0690163U, 0x83205d5bb0690163U},
    {64, 64, 128, 128, 0x1d374ac69be1e027U, 0x1d374ac69be1e027U},
    {37, 53, 64, 64, 0x57be169818d3f483U, 0x57be169818d3f483U},
    {120, 80, 64, 64, 0xe831523b2346f937U, 0xabde30bf220c0772U},
    {80, 120, 64, 64, 0xbeda32b2519807b8U, 0xbeda32b2519807b8U},
    {120, 80, 64, 100, 0x3b05a9089488d511U, 0x0040ecb088f86d15U},
    {48, 40, 48, 64, 0x9072f7abc589dddfU, 0x9072f7abc589dddfU},
    {48, 40, 64, 40, 0x18ab08bbdb9959a9U, 0x18ab08bbdb9959a9U},
    {5, 7, 1, 1, 0xf57a2f190c8bfe16U, 0xf57a2f190c8bfe16U},
    {1, 1, 6, 9, 0x1b2001371d825bafU, 0x1b2001371d825bafU},
    {300, 2, 16, 16, 0xe82bd882141d5bdfU, 0x10413758953246b7U},
    {2, 300, 16, 16, 0xa7d51e57430abe69U, 0xa7d51e57430abe69U},
    {97, 31, 96, 30, 0xca6ce5da74924f37U, 0xca6ce5da74924f37U},
    {33, 33, 100, 7, 0x3db840a5ee4bee02U, 0x3db840a5ee4bee02U},
};

TEST(Resize, EqualsPillow) {
  for (const Golden& g : kGolden) {
    const Image image = formula_image(g.from_height, g.from_width);
    const Image result = resize_bilinear(image, g.height, g.width);
    EXPECT_EQ(result.height, g.height);
    EXPECT_EQ(result.width, g.width);
    EXPECT_EQ(fnv1a(result), g.pillow13)
        << g.from_height << "x" << g.from_width << " to " << g.height << "x" << g.width;
    EXPECT_EQ(fnv1a(resize_bilinear(image, g.height, g.width, PassOrder::rows_first)), g.rows_first)
        << g.from_height << "x" << g.from_width << " to " << g.height << "x" << g.width;
  }
}

TEST(Resize, SmallCaseInFull) {
  const std::vector<uint8_t> expected = {13,  99,  185, 49,  137, 177, 69,  150, 170,
                                         112, 161, 106, 163, 114, 113, 108, 103, 134};
  EXPECT_EQ(resize_bilinear(formula_image(5, 4), 3, 2).pixels, expected);
}

TEST(Resize, SameSizeIsACopyAndOneColorStays) {
  const Image image = formula_image(13, 17);
  EXPECT_EQ(resize_bilinear(image, 13, 17), image);
  Image plain(23, 31);
  for (size_t i = 0; i < plain.pixels.size(); ++i)
    plain.pixels[i] = static_cast<uint8_t>(i % 3 == 0 ? 255 : 128);
  for (const int size : {1, 2, 7, 23, 64, 200}) {
    const Image result = resize_bilinear(plain, size, size + 3);
    for (size_t i = 0; i < result.pixels.size(); ++i) ASSERT_EQ(result.pixels[i], i % 3 == 0 ? 255 : 128);
  }
}

// Sides that a hostile file may have; an intermediate image of its height would take 150 MB.
TEST(Resize, VeryLongImage) {
  Image image(200'000, 2);
  std::fill(image.pixels.begin(), image.pixels.end(), uint8_t{200});
  for (const PassOrder order : {PassOrder::pillow13, PassOrder::rows_first}) {
    const Image result = resize_bilinear(image, 16, 256, order);
    EXPECT_EQ(result.at(0, 0, 0), 200);
    EXPECT_EQ(result.at(15, 255, 2), 200);
  }
}

TEST(Resize, EmptySizesAreRefused) {
  EXPECT_THROW(resize_bilinear(Image(), 4, 4), Error);
  EXPECT_THROW(resize_bilinear(Image(4, 4), 0, 4), Error);
  EXPECT_THROW(resize_bilinear(Image(4, 4), 4, -1), Error);
}

}  // namespace
}  // namespace om::test
