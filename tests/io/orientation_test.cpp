// Which way up an image stands, wherever a file says so and whatever else it says: each expectation is what
// Pillow's ImageOps.exif_transpose does (checked with Pillow 13 on files of the same make).
#include <gtest/gtest.h>

#include "io/exif.h"
#include "tests/io/image_bytes.h"

namespace om::test {
namespace {

using Bytes = std::vector<uint8_t>;

const Image kPicture = smooth_image(24, 40);
const std::string kName("Exif\0\0", 6);
const std::string kProfile = "Raw profile type exif", kXmp = "XML:com.adobe.xmp";

int sample(int y, int x, int c) { return kPicture.at(y, x, c); }

Bytes png() {
  PngRecipe recipe;
  recipe.height = kPicture.height;
  recipe.width = kPicture.width;
  recipe.sample = sample;
  return make_png(recipe);
}

Bytes jpeg(const std::vector<Bytes>& markers) {
  JpegRecipe recipe;
  recipe.height = kPicture.height;
  recipe.width = kPicture.width;
  recipe.sample = sample;
  recipe.app1 = markers;
  return make_jpeg(recipe);
}

Bytes webp(const Bytes& exif, const std::string& xmp) {
  WebpRecipe recipe;
  recipe.height = kPicture.height;
  recipe.width = kPicture.width;
  recipe.exif = exif;
  recipe.xmp = xmp;
  recipe.sample = sample;
  return make_webp(recipe);
}

std::string as_text(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }
Bytes as_bytes(const std::string& text) { return {text.begin(), text.end()}; }

std::string attribute(int orientation) {
  return "<x:xmpmeta><rdf:Description tiff:Orientation=\"" + std::to_string(orientation) + "\"/></x:xmpmeta>";
}
std::string element(int orientation) {
  return "<x:xmpmeta><tiff:Orientation>" + std::to_string(orientation) + "</tiff:Orientation></x:xmpmeta>";
}
Bytes xmp_marker(const std::string& packet) {
  return as_bytes(std::string("http://ns.adobe.com/xap/1.0/\0", 29) + packet);
}

Image mirrored(const Image& image) {
  Image result(image.height, image.width);
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      for (int c = 0; c < 3; ++c) result.at(y, image.width - 1 - x, c) = image.at(y, x, c);
    }
  }
  return result;
}

Image turned_right(const Image& image) {
  Image result(image.width, image.height);
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      for (int c = 0; c < 3; ++c) result.at(x, image.height - 1 - y, c) = image.at(y, x, c);
    }
  }
  return result;
}

/// The EXIF standard's table, as quarter turns to the right after an optional mirroring.
Image upright(const Image& image, int orientation) {
  static constexpr int turns[] = {0, 0, 0, 2, 2, 3, 1, 1, 3};
  const bool mirror = orientation == 2 || orientation == 4 || orientation == 5 || orientation == 7;
  Image result = mirror ? mirrored(image) : image;
  for (int i = 0; i < turns[orientation]; ++i) result = turned_right(result);
  return result;
}

/// The orientation that the reader gave a file, 1 to 8; 0 where it is none.
int found(const Bytes& file, const Image& stored = kPicture) {
  const Image image = decode_image(file, "made");
  for (int orientation = 1; orientation <= 8; ++orientation)
    if (image == upright(stored, orientation)) return orientation;
  return 0;
}

int found_in_jpeg(const std::vector<Bytes>& markers) {
  static const Image stored = decode_image(jpeg({}), "made");
  return found(jpeg(markers), stored);
}

struct Chunk {
  std::string type, data;
  bool late = false;
};

/// Of a PNG with these chunks in this order.
int found_in_png(const std::vector<Chunk>& chunks) {
  Bytes file = png();
  for (auto chunk = chunks.rbegin(); chunk != chunks.rend(); ++chunk)  // each goes in front of those before
    if (!chunk->late) add_png_chunk(file, chunk->type, chunk->data);
  for (const Chunk& chunk : chunks)
    if (chunk.late) add_png_chunk(file, chunk.type, chunk.data, true);
  return found(file);
}

Chunk exif_chunk(int orientation) { return {"eXIf", as_text(exif_block(orientation, true, ""))}; }
Chunk xmp_chunk(int orientation) {
  return {"iTXt", png_international_text(kXmp, attribute(orientation), false)};
}
Chunk profile_chunk(int orientation) {
  return {"zTXt", png_text(kProfile, raw_profile(exif_block(orientation, false, kName)), true)};
}

TEST(Orientation, AllEightInEveryFormatAndByteOrder) {
  for (int orientation = 1; orientation <= 8; ++orientation) {
    SCOPED_TRACE(orientation);
    for (const bool big_endian : {false, true}) {
      const Bytes named = exif_block(orientation, big_endian, kName),
                  bare = exif_block(orientation, big_endian, "");
      EXPECT_EQ(found_in_jpeg({named}), orientation);
      for (const Bytes& block : {bare, named}) {
        EXPECT_EQ(found_in_png({{"eXIf", as_text(block)}}), orientation);
        EXPECT_EQ(found(webp(block, "")), orientation);
      }
    }
    for (const std::string& packet : {attribute(orientation), element(orientation)}) {
      EXPECT_EQ(found_in_jpeg({xmp_marker(packet)}), orientation);
      EXPECT_EQ(found(webp({}, packet)), orientation);
    }
  }
}

TEST(Orientation, InEveryKindOfPngText) {
  const std::string profile = raw_profile(exif_block(6, true, kName));
  for (const bool late : {false, true}) {
    SCOPED_TRACE(late ? "behind the pixels" : "before them");
    EXPECT_EQ(found_in_png({{"tEXt", png_text(kProfile, profile, false), late}}), 6);
    EXPECT_EQ(found_in_png({{"zTXt", png_text(kProfile, profile, true), late}}), 6);
    EXPECT_EQ(
        found_in_png({{"tEXt", png_text(kProfile, raw_profile(exif_block(6, false, "")), false), late}}), 6);
    for (const bool packed : {false, true}) {
      EXPECT_EQ(found_in_png({{"iTXt", png_international_text(kXmp, attribute(6), packed), late}}), 6);
      EXPECT_EQ(found_in_png({{"iTXt", png_international_text(kXmp, element(6), packed), late}}), 6);
      EXPECT_EQ(found_in_png({{"iTXt", png_international_text(kProfile, profile, packed), late}}), 6);
    }
    EXPECT_EQ(found_in_png({{"tEXt", png_text(kXmp, element(6), false), late}}), 6);
    EXPECT_EQ(found_in_png({{"eXIf", as_text(exif_block(6, true, "")), late}}), 6);
  }
  EXPECT_EQ(found_in_png({{"tEXt", png_text("exif", as_text(exif_block(6, true, kName)), false)}}), 6);
  EXPECT_EQ(found_in_png({{"iTXt", png_international_text(kXmp, attribute(6) + "\xff", false)}}),
            6);  // no UTF-8
}

// Whatever the EXIF tag says, XMP is heard only where there is none.
TEST(Orientation, ExifGoesBeforeXmp) {
  for (const auto& [in_exif, in_xmp, expected] :
       {std::tuple{6, 3, 6}, {1, 6, 1}, {0, 6, 1}, {9, 6, 1}, {8, 1, 8}}) {
    SCOPED_TRACE(std::to_string(in_exif) + " and " + std::to_string(in_xmp));
    const Bytes exif = exif_block(in_exif, true, kName);
    EXPECT_EQ(found_in_jpeg({exif, xmp_marker(attribute(in_xmp))}), expected);
    EXPECT_EQ(found_in_jpeg({xmp_marker(attribute(in_xmp)), exif}), expected);
    EXPECT_EQ(found_in_png({exif_chunk(in_exif), xmp_chunk(in_xmp)}), expected);
    EXPECT_EQ(found_in_png({xmp_chunk(in_xmp), exif_chunk(in_exif)}), expected);
    EXPECT_EQ(found_in_png({profile_chunk(in_exif), xmp_chunk(in_xmp)}), expected);
    EXPECT_EQ(found(webp(exif, attribute(in_xmp))), expected);
  }
  Bytes no_tag = exif_block(6, true, kName);
  no_tag[6 + 11] = 0x13;  // another tag
  EXPECT_EQ(found_in_jpeg({no_tag, xmp_marker(attribute(8))}), 8);
  EXPECT_EQ(found_in_png({{"eXIf", as_text(no_tag)}, xmp_chunk(8)}), 8);
  EXPECT_EQ(found(webp(no_tag, attribute(8))), 8);
}

TEST(Orientation, AmongSeveralOfAKind) {
  EXPECT_EQ(found_in_png({exif_chunk(3), exif_chunk(6)}), 6);
  EXPECT_EQ(found_in_png({xmp_chunk(3), xmp_chunk(6)}), 6);
  EXPECT_EQ(found_in_png({profile_chunk(3), profile_chunk(6)}), 6);
  EXPECT_EQ(found_in_png({exif_chunk(3), profile_chunk(6)}), 3);
  EXPECT_EQ(found_in_png({profile_chunk(6), exif_chunk(3)}), 3);
  EXPECT_EQ(found_in_jpeg({exif_block(6, true, kName), exif_block(3, true, kName)}),
            6);  // one block, continued
  EXPECT_EQ(found_in_jpeg({xmp_marker(attribute(3)), xmp_marker(attribute(6))}), 6);
  EXPECT_EQ(found_in_jpeg({xmp_marker(element(8) + attribute(6))}), 8);  // the first in the packet
  EXPECT_EQ(found_in_jpeg({xmp_marker("tiff:Orientation=\"x\" " + attribute(6))}), 6);
}

TEST(Orientation, BrokenTextsCountAsNotThere) {
  const std::string profile = raw_profile(exif_block(6, true, kName));
  std::string wrong = profile;
  wrong[wrong.find("4d4d")] = 'g';
  std::string packed = png_text(kProfile, profile, true);
  packed[kProfile.size() + 6] = static_cast<char>(packed[kProfile.size() + 6] ^ 0xff);
  for (const Chunk& chunk :
       {Chunk{"tEXt", png_text(kProfile, wrong, false)}, Chunk{"zTXt", packed},
        Chunk{"tEXt", png_text(kProfile, profile.substr(0, profile.size() - 2), false)},
        Chunk{"tEXt", png_text(kProfile, "\nexif\n", false)}, Chunk{"tEXt", kProfile},
        Chunk{"zTXt", kProfile + '\0'}, Chunk{"iTXt", kXmp + std::string(2, '\0')},
        Chunk{"iTXt", png_international_text(kXmp, std::string(5 << 20, ' ') + attribute(6), true)},
        Chunk{"tEXt", png_text("Raw profile type xmp", profile, false)}})
    EXPECT_EQ(found_in_png({chunk}), 1) << chunk.type;
  Bytes file = png();
  add_png_chunk(file, "eXIf", as_text(exif_block(6, true, "")));
  file[33 + 8 + 4] ^= 1;  // and its checksum is wrong
  EXPECT_EQ(found(file), 1);
}

TEST(Orientation, BrokenOrUnknownBlocksAreIgnored) {
  const Bytes block = exif_block(6, true, "");
  EXPECT_EQ(exif_orientation(block), 6);
  for (size_t n = 0; n < block.size() - 4; ++n)  // the last four bytes are the next directory
    EXPECT_EQ(exif_orientation({block.data(), n}), std::nullopt) << n;
  EXPECT_EQ(exif_orientation(exif_block(0, false, "")), 0);
  EXPECT_EQ(exif_orientation(exif_block(300, false, "")), 0);
  Bytes far = block;
  std::fill(far.begin() + 4, far.begin() + 8, uint8_t{0xff});  // the directory at 4 GiB
  EXPECT_EQ(exif_orientation(far), std::nullopt);
}

TEST(Orientation, NumbersOfEveryType) {
  Bytes block = exif_block(0, true, "");
  const auto with = [&](uint8_t type, std::initializer_list<uint8_t> value) {
    Bytes out = block;
    out[13] = type;
    std::copy(value.begin(), value.end(), out.begin() + 18);
    return exif_orientation(out);
  };
  EXPECT_EQ(with(4, {0, 0, 0, 6}), 6);
  EXPECT_EQ(with(9, {0, 0, 0, 6}), 6);
  EXPECT_EQ(with(8, {0, 6, 0, 0}), 6);
  EXPECT_EQ(with(6, {6, 0, 0, 0}), 6);
  EXPECT_EQ(with(11, {0x40, 0xc0, 0, 0}), 6);
  EXPECT_EQ(with(1, {6, 0, 0, 0}), 0);  // bytes and texts are no numbers
  EXPECT_EQ(with(2, {'6', 0, 0, 0}), 0);
  EXPECT_EQ(with(14, {0, 6, 0, 0}), std::nullopt);
  block[17] = 2;  // two shorts: the first counts
  EXPECT_EQ(with(3, {0, 6, 0, 1}), 6);
  block[17] = 1;
  block.insert(block.end(), {0, 0, 0, 12, 0, 0, 0, 2});  // 12 / 2, behind the directory at byte 26
  EXPECT_EQ(with(5, {0, 0, 0, 26}), 6);
  EXPECT_EQ(with(5, {0, 0, 0, 27}), std::nullopt);
}

}  // namespace
}  // namespace om::test
