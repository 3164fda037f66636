// Every kind of PNG and JPEG becomes the RGB that Pillow gives, and nothing broken becomes an image.
#include "io/image.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "tensor/error.h"
#include "tests/io/image_bytes.h"

namespace om::test {
namespace {

std::vector<uint8_t> png_of(const Image& image, std::vector<uint8_t> exif = {}) {
  PngRecipe recipe;
  recipe.height = image.height;
  recipe.width = image.width;
  recipe.exif = std::move(exif);
  recipe.sample = [&](int y, int x, int c) { return image.at(y, x, c); };
  return make_png(recipe);
}

std::vector<uint8_t> jpeg_of(const Image& image, std::vector<uint8_t> app1 = {}) {
  JpegRecipe recipe;
  recipe.height = image.height;
  recipe.width = image.width;
  if (!app1.empty()) recipe.app1 = {std::move(app1)};
  recipe.sample = [&](int y, int x, int c) { return image.at(y, x, c); };
  return make_jpeg(recipe);
}

int largest_difference(const Image& a, const Image& b) {
  if (a.height != b.height || a.width != b.width) return 256;
  int largest = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i)
    largest = std::max(largest, std::abs(a.pixels[i] - b.pixels[i]));
  return largest;
}

/// The error's text, which must be one line that begins with the name; "" where an image came out.
std::string refusal(std::span<const uint8_t> bytes) {
  try {
    decode_image(bytes, "some/file");
  } catch (const InputError& error) {
    const std::string line = error.what();
    EXPECT_EQ(line.rfind("some/file: ", 0), 0U) << line;
    EXPECT_EQ(line.find('\n'), std::string::npos) << line;
    return line;
  }
  return "";
}

// ---- PNG ----

class PngKind : public testing::TestWithParam<std::tuple<int, int, bool>> {};

TEST_P(PngKind, BecomesRgb) {
  const auto [color_type, bit_depth, interlaced] = GetParam();
  PngRecipe recipe;
  recipe.color_type = color_type;
  recipe.bit_depth = bit_depth;
  recipe.interlaced = interlaced;
  const int values = 1 << bit_depth;
  recipe.sample = [&](int y, int x, int c) { return (y * 7919 + x * 104729 + c * 611 + 3) % values; };
  if (color_type == 3) {
    for (int i = 0; i < 3 * values; ++i) recipe.palette.push_back(static_cast<uint8_t>(i * 37 + 11));
    recipe.transparency = {0, 128};
  }
  const Image image = decode_image(make_png(recipe), "made");
  ASSERT_EQ(image.height, recipe.height);
  ASSERT_EQ(image.width, recipe.width);
  for (int y = 0; y < recipe.height; ++y) {
    for (int x = 0; x < recipe.width; ++x) {
      for (int c = 0; c < 3; ++c) {
        const bool is_grey = color_type == 0 || color_type == 4;
        const int sample = recipe.sample(y, x, is_grey || color_type == 3 ? 0 : c);
        const int expected = color_type == 3   ? recipe.palette[3 * sample + c]
                             : bit_depth == 16 ? sample >> 8
                                               : sample * 255 / (values - 1);
        ASSERT_EQ(image.at(y, x, c), expected) << "at " << y << ", " << x << ", " << c;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Grey, PngKind,
                         testing::Combine(testing::Values(0), testing::Values(1, 2, 4, 8, 16),
                                          testing::Bool()));
INSTANTIATE_TEST_SUITE_P(Palette, PngKind,
                         testing::Combine(testing::Values(3), testing::Values(1, 2, 4, 8), testing::Bool()));
INSTANTIATE_TEST_SUITE_P(ColorOrAlpha, PngKind,
                         testing::Combine(testing::Values(2, 4, 6), testing::Values(8, 16), testing::Bool()));

TEST(Png, EncodeThenDecodeIsExactAndRepeatable) {
  const Image image = smooth_image(33, 57);
  const std::vector<uint8_t> bytes = encode_png(image);
  EXPECT_EQ(decode_image(bytes, "made"), image);
  EXPECT_EQ(encode_png(image), bytes);
  const std::string text(bytes.begin(), bytes.end());
  EXPECT_EQ(text.find("tIME"), std::string::npos);
  EXPECT_EQ(decode_image(encode_png(Image(1, 1)), "made"), Image(1, 1));
}

TEST(Png, EmptyImageIsRefusedByTheWriter) {
  EXPECT_THROW(encode_png(Image()), Error);
  Image wrong(2, 2);
  wrong.pixels.pop_back();
  EXPECT_THROW(encode_png(wrong), Error);
}

// ---- JPEG ----

TEST(Jpeg, ColorBaselineProgressiveAndArithmetic) {
  const Image image = smooth_image(50, 70);
  JpegRecipe recipe;
  recipe.height = 50;
  recipe.width = 70;
  recipe.sample = [&](int y, int x, int c) { return image.at(y, x, c); };
  const Image baseline = decode_image(make_jpeg(recipe), "made");
  EXPECT_LE(largest_difference(baseline, image), 4);
  recipe.progressive = true;
  EXPECT_EQ(decode_image(make_jpeg(recipe), "made"), baseline);
  recipe.progressive = false;
  recipe.arithmetic = true;
  EXPECT_EQ(decode_image(make_jpeg(recipe), "made"), baseline);
}

TEST(Jpeg, GreyIsRepeatedIntoThreeChannels) {
  JpegRecipe recipe;
  recipe.components = 1;
  recipe.sample = [](int y, int x, int) { return 20 + 3 * y + 2 * x; };
  const Image image = decode_image(make_jpeg(recipe), "made");
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      EXPECT_NEAR(image.at(y, x, 0), 20 + 3 * y + 2 * x, 1);
      EXPECT_EQ(image.at(y, x, 0), image.at(y, x, 1));
      EXPECT_EQ(image.at(y, x, 0), image.at(y, x, 2));
    }
  }
}

// Inks stand inverted in the file, so a sample s is ink 255 - s, and light is (255 - ink)(255 - black) / 255.
TEST(Jpeg, InksAreMultipliedOut) {
  JpegRecipe recipe;
  recipe.components = 4;
  recipe.sample = [](int y, int x, int c) {
    return c == 0 ? 60 + 3 * x : c == 1 ? 200 - 2 * y : c == 2 ? 100 + x + y : 250 - 3 * y;
  };
  for (const bool ycck : {false, true}) {
    recipe.ycck = ycck;
    const Image image = decode_image(make_jpeg(recipe), "made");
    for (int y = 0; y < image.height; ++y) {
      for (int x = 0; x < image.width; ++x) {
        for (int c = 0; c < 3; ++c) {
          const double light = recipe.sample(y, x, c) * recipe.sample(y, x, 3) / 255.0;
          ASSERT_NEAR(image.at(y, x, c), light, ycck ? 5 : 2) << "at " << y << ", " << x << ", " << c;
        }
      }
    }
  }
}

TEST(Jpeg, EncodeKeepsTheImageCloseAndIsRepeatable) {
  const Image image = smooth_image(40, 41);
  const std::vector<uint8_t> bytes = encode_jpeg(image, 95);
  EXPECT_LE(largest_difference(decode_image(bytes, "made"), image), 6);
  EXPECT_EQ(encode_jpeg(image, 95), bytes);
  EXPECT_LT(encode_jpeg(image, 30).size(), bytes.size());
  EXPECT_THROW(encode_jpeg(image, 0), Error);
  EXPECT_THROW(encode_jpeg(image, 101), Error);
  EXPECT_THROW(encode_jpeg(Image(1, 65501), 90), Error);
}

// More than one buffer of output: noise does not compress.
TEST(Jpeg, LargeOutputIsWhole) {
  Image image(300, 300);
  uint32_t state = 1;
  for (uint8_t& value : image.pixels)
    value = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  const std::vector<uint8_t> bytes = encode_jpeg(image, 100);
  EXPECT_GT(bytes.size(), size_t{1} << 16);
  EXPECT_EQ(decode_image(bytes, "made").height, 300);
}

// ---- WebP ----

TEST(Webp, LosslessIsExact) {
  WebpRecipe recipe;
  recipe.sample = [](int y, int x, int c) { return (y * 79 + x * 13 + c * 61) % 256; };
  for (const bool alpha : {false, true}) {  // alpha is dropped, whatever it is
    recipe.alpha = alpha;
    const Image image = decode_image(make_webp(recipe), "made");
    ASSERT_EQ(image.height, recipe.height);
    ASSERT_EQ(image.width, recipe.width);
    for (int y = 0; y < image.height; ++y)
      for (int x = 0; x < image.width; ++x)
        for (int c = 0; c < 3; ++c) ASSERT_EQ(image.at(y, x, c), recipe.sample(y, x, c)) << y << ", " << x;
  }
}

TEST(Webp, LossyIsClose) {
  const Image image = smooth_image(50, 70);
  WebpRecipe recipe;
  recipe.height = 50;
  recipe.width = 70;
  recipe.lossless = false;
  for (const bool alpha : {false, true}) {
    recipe.alpha = alpha;
    recipe.sample = [&](int y, int x, int c) { return c == 3 ? 200 : image.at(y, x, c); };
    EXPECT_LE(largest_difference(decode_image(make_webp(recipe), "made"), image), 16);
  }
}

TEST(Webp, OfAnAnimationTheFirstFrameOnBlack) {
  WebpRecipe recipe;
  recipe.canvas_height = 40;
  recipe.canvas_width = 60;
  recipe.x = 12;
  recipe.y = 6;
  recipe.sample = [](int y, int x, int c) { return 100 + y + x + 10 * c; };
  const Image image = decode_image(make_webp(recipe), "made");
  ASSERT_EQ(image.height, 40);
  ASSERT_EQ(image.width, 60);
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      const bool inside = y >= 6 && y < 30 && x >= 12 && x < 52;
      for (int c = 0; c < 3; ++c)
        ASSERT_EQ(image.at(y, x, c), inside ? recipe.sample(y - 6, x - 12, c) : 0) << y << ", " << x;
    }
  }
}

TEST(Webp, ClaimsAreBounded) {
  WebpRecipe recipe;
  recipe.sample = [](int, int, int) { return 7; };
  recipe.canvas_height = recipe.canvas_width = 16000;
  EXPECT_NE(refusal(make_webp(recipe)).find("16000x16000 pixels, over the limit of 100 megapixels"),
            std::string::npos);
  recipe.canvas_height = recipe.canvas_width = 30;  // smaller than the frame
  EXPECT_NE(refusal(make_webp(recipe)).find("broken WebP"), std::string::npos);
}

// ---- what must be refused ----

TEST(Refusal, NoImageOfAnyKind) {
  EXPECT_NE(refusal({}).find("is empty"), std::string::npos);
  const std::string text = "GIF89a and so on";
  const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  EXPECT_NE(refusal(bytes).find("is no PNG, JPEG or WebP image"), std::string::npos);
}

std::vector<std::vector<uint8_t>> small_files() {
  const Image image = smooth_image(21, 30);
  PngRecipe interlaced;
  interlaced.interlaced = true;
  interlaced.sample = [](int y, int x, int c) { return (y * 31 + x * 17 + c * 5) % 256; };
  JpegRecipe progressive;
  progressive.progressive = true;
  progressive.quality = 60;
  progressive.sample = [](int y, int x, int c) { return (y * 31 + x * 17 + c * 5) % 256; };
  JpegRecipe arithmetic = progressive;
  arithmetic.progressive = false;
  arithmetic.arithmetic = true;
  JpegRecipe inks = progressive;
  inks.progressive = false;
  inks.components = 4;
  WebpRecipe webp;
  webp.sample = progressive.sample;
  WebpRecipe lossy = webp;
  lossy.lossless = false;
  lossy.exif = exif_block(6, true, "");
  WebpRecipe animation = webp;
  animation.canvas_height = animation.canvas_width = 50;
  return {png_of(image),          make_webp(webp),
          make_webp(lossy),       make_webp(animation),
          make_png(interlaced),   jpeg_of(image, exif_block(6, true, std::string("Exif\0\0", 6))),
          make_jpeg(progressive), make_jpeg(arithmetic),
          make_jpeg(inks)};
}

TEST(Refusal, FilesCutAtEveryByte) {
  testing::internal::CaptureStderr();
  for (const std::vector<uint8_t>& file : small_files()) {
    ASSERT_EQ(refusal(file), "");
    for (size_t n = 0; n < file.size(); ++n) {
      // A copy of just that size, so that a sanitizer sees any read past the end.
      const std::vector<uint8_t> cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(n));
      EXPECT_NE(refusal(cut), "") << "cut to " << n << " of " << file.size();
    }
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

// A flipped bit may pass unseen in a JPEG, which has no checksums; it must give an image or a refusal,
// nothing else.
TEST(Refusal, FlippedBitsNeverGetFurtherThanAnImageOrALine) {
  testing::internal::CaptureStderr();
  for (const std::vector<uint8_t>& file : small_files()) {
    for (size_t bit = 0; bit < file.size() * 8; bit += 3) {
      std::vector<uint8_t> flipped = file;
      flipped[bit / 8] = static_cast<uint8_t>(flipped[bit / 8] ^ 1 << bit % 8);
      refusal(flipped);
    }
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(Refusal, HeaderOverTheCap) {
  std::vector<uint8_t> png = png_of(smooth_image(8, 8));
  claim_png_size(png, 60000, 60000);
  EXPECT_NE(refusal(png).find("60000x60000 pixels, over the limit of 100 megapixels"), std::string::npos);
  claim_png_size(png, 0x7fffffff, 0x7fffffff);
  EXPECT_NE(refusal(png).find("megapixels"), std::string::npos);
  claim_png_size(png, 0, 8);
  EXPECT_NE(refusal(png), "");
  claim_png_size(png, 0xffffffff, 0xffffffff);
  EXPECT_NE(refusal(png), "");
  std::vector<uint8_t> jpeg = jpeg_of(smooth_image(8, 8));
  claim_jpeg_size(jpeg, 60000, 60000);
  EXPECT_NE(refusal(jpeg).find("60000x60000 pixels, over the limit of 100 megapixels"), std::string::npos);
}

TEST(Refusal, HeaderThatClaimsMoreThanTheFileCanHold) {
  std::vector<uint8_t> png = png_of(smooth_image(8, 8));
  claim_png_size(png, 9000, 9000);
  EXPECT_NE(refusal(png).find("claims 9000x9000 pixels, more than its"), std::string::npos);
  std::vector<uint8_t> jpeg = jpeg_of(smooth_image(8, 8));
  claim_jpeg_size(jpeg, 9000, 9000);
  EXPECT_NE(refusal(jpeg).find("claims 9000x9000 pixels, more than its"), std::string::npos);
}

// The bound itself must not refuse what exists: nothing compresses better than one colour.
TEST(Refusal, PlainImagesPassTheBound) {
  const Image white(2000, 3000);
  EXPECT_EQ(decode_image(encode_png(white), "made"), white);
  EXPECT_EQ(decode_image(encode_jpeg(white, 1), "made").width, 3000);
  JpegRecipe recipe;
  recipe.height = 3000;
  recipe.width = 3000;
  recipe.components = 1;
  recipe.sample = [](int, int, int) { return 128; };
  EXPECT_EQ(decode_image(make_jpeg(recipe), "made").width, 3000);
  recipe.progressive = true;
  EXPECT_EQ(decode_image(make_jpeg(recipe), "made").width, 3000);
}

}  // namespace
}  // namespace om::test
