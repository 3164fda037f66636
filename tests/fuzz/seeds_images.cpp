// PNG, JPEG and WebP in every kind that the readers know, a few pixels each.
#include "io/image.h"
#include "tests/fuzz/seeds.h"
#include "tests/io/image_bytes.h"

namespace om::fuzz {
namespace {

std::string packed(const std::vector<std::uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

int low_bits(int y, int x, int channel, int bits) {
  return (13 * y + 7 * x + 29 * channel) & ((1 << bits) - 1);
}

}  // namespace

std::vector<Seed> png_seeds() {
  std::vector<Seed> out = {{"written", packed(encode_png(test::smooth_image(6, 5)))}};
  struct Kind {
    int color, bits;
  };
  for (const Kind kind : {Kind{0, 1},
                          {0, 2},
                          {0, 4},
                          {0, 8},
                          {0, 16},
                          {2, 8},
                          {2, 16},
                          {3, 1},
                          {3, 2},
                          {3, 4},
                          {3, 8},
                          {4, 8},
                          {4, 16},
                          {6, 8},
                          {6, 16}}) {
    for (const bool interlaced : {false, true}) {
      test::PngRecipe recipe;
      recipe.height = 5;
      recipe.width = 7;
      recipe.color_type = kind.color;
      recipe.bit_depth = kind.bits;
      recipe.interlaced = interlaced;
      if (kind.color == 3)
        for (int i = 0; i < 3 << kind.bits; ++i) recipe.palette.push_back(static_cast<std::uint8_t>(5 * i));
      if (kind.color == 3 && interlaced) recipe.transparency = {0, 128};
      if (kind.color == 2 && interlaced) recipe.exif = test::exif_block(6, true, "");
      recipe.sample = [&](int y, int x, int channel) { return low_bits(y, x, channel, kind.bits); };
      out.push_back({"color" + std::to_string(kind.color) + "_bits" + std::to_string(kind.bits) +
                         (interlaced ? "_interlaced" : ""),
                     packed(test::make_png(recipe))});
    }
  }
  const std::string profile = test::raw_profile(test::exif_block(6, true, std::string("Exif\0\0", 6)));
  const std::string packet = "<x tiff:Orientation=\"6\"/>", raw = "Raw profile type exif",
                    xml = "XML:com.adobe.xmp";
  for (const bool compressed : {false, true}) {
    std::vector<std::uint8_t> noted = encode_png(test::smooth_image(6, 5));
    test::add_png_chunk(noted, compressed ? "zTXt" : "tEXt", test::png_text(raw, profile, compressed));
    test::add_png_chunk(noted, "iTXt", test::png_international_text(xml, packet, compressed), compressed);
    out.push_back({compressed ? "notes_packed" : "notes", packed(noted)});
  }
  std::vector<std::uint8_t> large = encode_png(test::smooth_image(6, 5));
  test::claim_png_size(large, 30'000, 30'000);
  out.push_back({"claim_cap", packed(large), false});
  test::claim_png_size(large, 5000, 5000);
  out.push_back({"claim_file", packed(large), false});
  return out;
}

std::vector<Seed> jpeg_seeds() {
  std::vector<Seed> out = {{"written", packed(encode_jpeg(test::smooth_image(17, 19), 80))}};
  for (const int components : {1, 3, 4}) {
    for (const bool progressive : {false, true}) {
      for (const bool arithmetic : {false, true}) {
        test::JpegRecipe recipe;
        recipe.height = 17;
        recipe.width = 19;
        recipe.components = components;
        recipe.progressive = progressive;
        recipe.arithmetic = arithmetic;
        recipe.ycck = components == 4 && progressive;
        recipe.quality = 50;
        if (components == 3)
          recipe.app1 = {test::exif_block(progressive ? 8 : 3, arithmetic, std::string("Exif\0\0", 6))};
        recipe.sample = [](int y, int x, int channel) { return low_bits(y, x, channel, 8); };
        out.push_back({"components" + std::to_string(components) + (progressive ? "_progressive" : "") +
                           (arithmetic ? "_arithmetic" : ""),
                       packed(test::make_jpeg(recipe))});
      }
    }
  }
  std::vector<std::uint8_t> large = encode_jpeg(test::smooth_image(17, 19), 80);
  test::claim_jpeg_size(large, 60'000, 60'000);
  out.push_back({"claim_cap", packed(large), false});
  test::claim_jpeg_size(large, 5000, 5000);
  out.push_back({"claim_file", packed(large), false});
  return out;
}

std::vector<Seed> webp_seeds() {
  std::vector<Seed> out;
  for (const bool lossless : {false, true}) {
    for (const bool alpha : {false, true}) {
      test::WebpRecipe recipe;
      recipe.height = 17;
      recipe.width = 19;
      recipe.lossless = lossless;
      recipe.alpha = alpha;
      recipe.sample = [](int y, int x, int channel) { return low_bits(y, x, channel, 8); };
      const std::string name = std::string(lossless ? "lossless" : "lossy") + (alpha ? "_alpha" : "");
      out.push_back({name, packed(test::make_webp(recipe))});
      recipe.exif = test::exif_block(6, alpha, "");
      recipe.xmp = "<x tiff:Orientation=\"3\"/>";
      out.push_back({name + "_notes", packed(test::make_webp(recipe))});
      recipe.canvas_height = recipe.canvas_width = 30;
      recipe.x = 6;
      out.push_back({name + "_animation", packed(test::make_webp(recipe))});
    }
  }
  test::WebpRecipe large;
  large.sample = [](int, int, int) { return 9; };
  large.canvas_height = large.canvas_width = 16000;
  out.push_back({"claim_cap", packed(test::make_webp(large)), false});
  return out;
}

}  // namespace om::fuzz
