// Image files built in memory by libpng, libjpeg and libwebp themselves, in every kind that real folders
// hold.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "io/image.h"

namespace om::test {

/// A smooth colourful picture, so that JPEG loses little of it.
Image smooth_image(int height, int width);

struct PngRecipe {
  int height = 9;
  int width = 13;
  int color_type = 2;  ///< PNG's own number: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA
  int bit_depth = 8;
  bool interlaced = false;
  std::vector<uint8_t> palette;       ///< three bytes a colour
  std::vector<uint8_t> transparency;  ///< tRNS of a palette
  std::vector<uint8_t> exif;          ///< content of an eXIf chunk
  /// Sample `channel` of pixel (y, x), of bit_depth bits.
  std::function<int(int y, int x, int channel)> sample;
};
std::vector<uint8_t> make_png(const PngRecipe& recipe);

struct JpegRecipe {
  int height = 24;
  int width = 40;
  int components = 3;  ///< 1 grey, 3 RGB, 4 inks (stored inverted, with Adobe's marker)
  bool ycck = false;   ///< inks as YCCK instead of CMYK
  bool progressive = false;
  bool arithmetic = false;
  int quality = 100;
  std::vector<std::vector<uint8_t>> app1;  ///< contents of APP1 markers
  std::function<int(int y, int x, int channel)> sample;
};
std::vector<uint8_t> make_jpeg(const JpegRecipe& recipe);

/// A WebP file; one with EXIF, XMP or an animation in the extended layout.
struct WebpRecipe {
  int height = 24;
  int width = 40;
  bool lossless = true;
  bool alpha = false;         ///< a fourth channel
  std::vector<uint8_t> exif;  ///< content of an EXIF chunk
  std::string xmp;            ///< content of an XMP chunk
  int canvas_height = 0;      ///< of an animation of two frames, the second one black; 0: a still picture
  int canvas_width = 0;
  int x = 0, y = 0;  ///< of its first frame, even
  std::function<int(int y, int x, int channel)> sample;
};
std::vector<uint8_t> make_webp(const WebpRecipe& recipe);

/// Puts a chunk into a PNG: before its pixels or, `late`, behind them.
void add_png_chunk(std::vector<uint8_t>& png, const std::string& type, const std::string& data,
                   bool late = false);

/// Contents of PNG's text chunks. `packed` goes through zlib, in tEXt and zTXt as the type has it.
std::string png_text(const std::string& key, const std::string& text, bool packed);
std::string png_international_text(const std::string& key, const std::string& text, bool packed);

/// As ImageMagick writes EXIF into a text chunk.
std::string raw_profile(const std::vector<uint8_t>& exif);

/// A big- or little-endian TIFF block with nothing but an orientation, after `before`.
std::vector<uint8_t> exif_block(int orientation, bool big_endian, const std::string& before);

/// Overwrites the size in a PNG's or a baseline JPEG's header (and mends the PNG's checksum).
void claim_png_size(std::vector<uint8_t>& png, uint32_t width, uint32_t height);
void claim_jpeg_size(std::vector<uint8_t>& jpeg, uint16_t width, uint16_t height);

}  // namespace om::test
