#include "tests/io/image_bytes.h"

#include <png.h>
#include <zlib.h>

#include <cstdio>

#include <jpeglib.h>
#include <webp/encode.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <stdexcept>

namespace om::test {

Image smooth_image(int height, int width) {
  Image image(height, width);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      image.at(y, x, 0) = static_cast<uint8_t>(40 + 160 * x / width);
      image.at(y, x, 1) = static_cast<uint8_t>(30 + 180 * y / height);
      image.at(y, x, 2) = static_cast<uint8_t>(200 - 120 * (x + y) / (width + height));
    }
  }
  return image;
}

namespace {

int channels_of(int color_type) {
  switch (color_type) {
    case PNG_COLOR_TYPE_RGB: return 3;
    case PNG_COLOR_TYPE_GRAY_ALPHA: return 2;
    case PNG_COLOR_TYPE_RGB_ALPHA: return 4;
    default: return 1;
  }
}

/// One row, samples packed as PNG wants them: most significant bit first.
std::vector<uint8_t> packed_row(const PngRecipe& recipe, int y) {
  const int channels = channels_of(recipe.color_type);
  std::vector<uint8_t> row((static_cast<size_t>(recipe.width) * channels * recipe.bit_depth + 7) / 8);
  size_t bit = 0;
  for (int x = 0; x < recipe.width; ++x) {
    for (int c = 0; c < channels; ++c) {
      const int value = recipe.sample(y, x, c);
      for (int b = recipe.bit_depth - 1; b >= 0; --b, ++bit) {
        row[bit / 8] = static_cast<uint8_t>(row[bit / 8] | (value >> b & 1) << (7 - bit % 8));
      }
    }
  }
  return row;
}

void put(std::vector<uint8_t>& out, uint32_t value, int bytes, bool big_endian) {
  for (int i = 0; i < bytes; ++i) {
    out.push_back(static_cast<uint8_t>(value >> 8 * (big_endian ? bytes - 1 - i : i)));
  }
}

}  // namespace

std::vector<uint8_t> make_png(const PngRecipe& recipe) {
  std::vector<uint8_t> bytes;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  const auto append = [](png_structp to, png_bytep data, size_t count) {
    auto& out = *static_cast<std::vector<uint8_t>*>(png_get_io_ptr(to));
    out.insert(out.end(), data, data + count);
  };
  png_set_write_fn(png, &bytes, append, [](png_structp) {});
  png_set_IHDR(png, info, recipe.width, recipe.height, recipe.bit_depth, recipe.color_type,
               recipe.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  std::vector<png_color> colors;
  for (size_t i = 0; i + 2 < recipe.palette.size(); i += 3) {
    colors.push_back({recipe.palette[i], recipe.palette[i + 1], recipe.palette[i + 2]});
  }
  if (!colors.empty()) png_set_PLTE(png, info, colors.data(), static_cast<int>(colors.size()));
  if (!recipe.transparency.empty()) {
    png_set_tRNS(png, info, recipe.transparency.data(), static_cast<int>(recipe.transparency.size()),
                 nullptr);
  }
  std::vector<uint8_t> exif = recipe.exif;
  if (!exif.empty()) png_set_eXIf_1(png, info, static_cast<png_uint_32>(exif.size()), exif.data());
  std::vector<std::vector<uint8_t>> rows;
  std::vector<png_bytep> pointers;
  for (int y = 0; y < recipe.height; ++y) rows.push_back(packed_row(recipe, y));
  for (auto& row : rows) pointers.push_back(row.data());
  png_set_rows(png, info, pointers.data());
  png_write_png(png, info, PNG_TRANSFORM_IDENTITY, nullptr);
  png_destroy_write_struct(&png, &info);
  return bytes;
}

std::vector<uint8_t> make_jpeg(const JpegRecipe& recipe) {
  jpeg_compress_struct info = {};
  jpeg_error_mgr errors = {};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* buffer = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &buffer, &size);
  info.image_width = static_cast<JDIMENSION>(recipe.width);
  info.image_height = static_cast<JDIMENSION>(recipe.height);
  info.input_components = recipe.components;
  info.in_color_space = recipe.components == 1 ? JCS_GRAYSCALE : recipe.components == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&info);
  if (recipe.ycck) jpeg_set_colorspace(&info, JCS_YCCK);
  jpeg_set_quality(&info, recipe.quality, TRUE);
  if (recipe.progressive) jpeg_simple_progression(&info);
  info.arith_code = recipe.arithmetic ? TRUE : FALSE;
  jpeg_start_compress(&info, TRUE);
  for (const std::vector<uint8_t>& marker : recipe.app1)
    jpeg_write_marker(&info, JPEG_APP0 + 1, marker.data(), static_cast<unsigned>(marker.size()));
  std::vector<uint8_t> row(static_cast<size_t>(recipe.width) * recipe.components);
  for (int y = 0; y < recipe.height; ++y) {
    for (int x = 0; x < recipe.width; ++x) {
      for (int c = 0; c < recipe.components; ++c) {
        row[static_cast<size_t>(x) * recipe.components + c] = static_cast<uint8_t>(recipe.sample(y, x, c));
      }
    }
    JSAMPROW pointer = row.data();
    jpeg_write_scanlines(&info, &pointer, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::vector<uint8_t> bytes(buffer, buffer + size);
  std::free(buffer);
  return bytes;
}

namespace {

/// A chunk of RIFF: name, length, content, a byte of padding where it is odd.
void put_chunk(std::vector<uint8_t>& out, const char* name, const std::vector<uint8_t>& content) {
  out.insert(out.end(), name, name + 4);
  put(out, static_cast<uint32_t>(content.size()), 4, false);
  out.insert(out.end(), content.begin(), content.end());
  if (content.size() % 2 != 0) out.push_back(0);
}

/// What stands behind the file's first 12 bytes.
std::vector<uint8_t> webp_picture(const WebpRecipe& recipe) {
  const int channels = recipe.alpha ? 4 : 3;
  std::vector<uint8_t> pixels;
  for (int y = 0; y < recipe.height; ++y)
    for (int x = 0; x < recipe.width; ++x)
      for (int c = 0; c < channels; ++c) pixels.push_back(static_cast<uint8_t>(recipe.sample(y, x, c)));
  WebPConfig config;
  WebPPicture picture;
  if (WebPConfigInit(&config) == 0 || WebPPictureInit(&picture) == 0) throw std::logic_error("libwebp");
  config.lossless = picture.use_argb = recipe.lossless ? 1 : 0;
  config.exact = 1;  // transparent pixels keep their colours
  config.quality = 95;
  picture.width = recipe.width;
  picture.height = recipe.height;
  WebPMemoryWriter writer;
  WebPMemoryWriterInit(&writer);
  picture.writer = WebPMemoryWrite;
  picture.custom_ptr = &writer;
  const int stride = channels * recipe.width;
  const bool good = (recipe.alpha ? WebPPictureImportRGBA(&picture, pixels.data(), stride)
                                  : WebPPictureImportRGB(&picture, pixels.data(), stride)) != 0 &&
                    WebPEncode(&config, &picture) != 0;
  std::vector<uint8_t> bytes(writer.mem, writer.mem + writer.size);
  WebPMemoryWriterClear(&writer);
  WebPPictureFree(&picture);
  if (!good) throw std::logic_error("libwebp cannot encode");
  std::vector<uint8_t> chunks(bytes.begin() + 12, bytes.end());
  if (std::equal(chunks.begin(), chunks.begin() + 4, "VP8X"))
    chunks.erase(chunks.begin(), chunks.begin() + 18);
  return chunks;
}

std::vector<uint8_t> animation_frame(const WebpRecipe& recipe) {
  std::vector<uint8_t> frame;
  put(frame, static_cast<uint32_t>(recipe.x / 2), 3, false);
  put(frame, static_cast<uint32_t>(recipe.y / 2), 3, false);
  put(frame, static_cast<uint32_t>(recipe.width - 1), 3, false);
  put(frame, static_cast<uint32_t>(recipe.height - 1), 3, false);
  put(frame, 100, 3, false);
  frame.push_back(0);
  const std::vector<uint8_t> picture = webp_picture(recipe);
  frame.insert(frame.end(), picture.begin(), picture.end());
  return frame;
}

std::string zlib_packed(const std::string& text) {
  uLongf size = compressBound(text.size());
  std::string out(size, '\0');
  if (compress(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(text.data()),
               text.size()) != Z_OK)
    throw std::logic_error("zlib");
  out.resize(size);
  return out;
}

}  // namespace

std::vector<uint8_t> make_webp(const WebpRecipe& recipe) {
  const bool animated = recipe.canvas_width > 0;
  std::vector<uint8_t> body;
  if (animated || recipe.alpha || !recipe.exif.empty() || !recipe.xmp.empty()) {
    std::vector<uint8_t> header;
    put(header,
        (recipe.alpha ? 0x10U : 0U) | (recipe.exif.empty() ? 0U : 8U) | (recipe.xmp.empty() ? 0U : 4U) |
            (animated ? 2U : 0U),
        4, false);
    put(header, static_cast<uint32_t>((animated ? recipe.canvas_width : recipe.width) - 1), 3, false);
    put(header, static_cast<uint32_t>((animated ? recipe.canvas_height : recipe.height) - 1), 3, false);
    put_chunk(body, "VP8X", header);
  }
  if (animated) {
    put_chunk(body, "ANIM", {255, 255, 255, 255, 0, 0});
    put_chunk(body, "ANMF", animation_frame(recipe));
    WebpRecipe second = recipe;
    second.sample = [](int, int, int) { return 0; };
    put_chunk(body, "ANMF", animation_frame(second));
  } else {
    const std::vector<uint8_t> picture = webp_picture(recipe);
    body.insert(body.end(), picture.begin(), picture.end());
  }
  if (!recipe.exif.empty()) put_chunk(body, "EXIF", recipe.exif);
  if (!recipe.xmp.empty()) put_chunk(body, "XMP ", {recipe.xmp.begin(), recipe.xmp.end()});
  std::vector<uint8_t> file = {'R', 'I', 'F', 'F'};
  put(file, static_cast<uint32_t>(4 + body.size()), 4, false);
  for (const char c : {'W', 'E', 'B', 'P'}) file.push_back(static_cast<uint8_t>(c));
  file.insert(file.end(), body.begin(), body.end());
  return file;
}

void add_png_chunk(std::vector<uint8_t>& png, const std::string& type, const std::string& data, bool late) {
  const std::string content = type + data;
  std::vector<uint8_t> chunk;
  put(chunk, static_cast<uint32_t>(data.size()), 4, true);
  for (const char c : content) chunk.push_back(static_cast<uint8_t>(c));
  const auto checksum = crc32(0, chunk.data() + 4, static_cast<uInt>(content.size()));
  put(chunk, static_cast<uint32_t>(checksum), 4, true);
  const std::ptrdiff_t at =
      late ? static_cast<std::ptrdiff_t>(png.size()) - 12 : 33;  // before IEND, after IHDR
  png.insert(png.begin() + at, chunk.begin(), chunk.end());
}

std::string png_text(const std::string& key, const std::string& text, bool packed) {
  return packed ? key + std::string(2, '\0') + zlib_packed(text) : key + '\0' + text;
}

std::string png_international_text(const std::string& key, const std::string& text, bool packed) {
  std::string out = key + '\0';
  out += packed ? '\1' : '\0';
  out += std::string(3, '\0');  // zlib, no language, no translated keyword
  return out + (packed ? zlib_packed(text) : text);
}

std::string raw_profile(const std::vector<uint8_t>& exif) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out = "\nexif\n" + std::string(6, ' ') + std::to_string(exif.size());
  for (size_t i = 0; i < exif.size(); ++i) {
    if (i % 36 == 0) out += '\n';
    out += {digits[exif[i] >> 4], digits[exif[i] & 15]};
  }
  return out + '\n';
}

std::vector<uint8_t> exif_block(int orientation, bool big_endian, const std::string& before) {
  std::vector<uint8_t> block(before.begin(), before.end());
  const char* order = big_endian ? "MM" : "II";
  block.insert(block.end(), order, order + 2);
  put(block, 42, 2, big_endian);
  put(block, 8, 4, big_endian);       // where the directory is
  put(block, 1, 2, big_endian);       // its entries
  put(block, 0x0112, 2, big_endian);  // orientation,
  put(block, 3, 2, big_endian);       // a short,
  put(block, 1, 4, big_endian);       // one of them
  put(block, static_cast<uint32_t>(orientation), 2, big_endian);
  put(block, 0, 2, big_endian);
  put(block, 0, 4, big_endian);  // no further directory
  return block;
}

void claim_png_size(std::vector<uint8_t>& png, uint32_t width, uint32_t height) {
  std::vector<uint8_t> size;
  put(size, width, 4, true);
  put(size, height, 4, true);
  std::copy(size.begin(), size.end(), png.begin() + 16);
  std::vector<uint8_t> checksum;
  put(checksum, static_cast<uint32_t>(crc32(0, png.data() + 12, 17)), 4, true);
  std::copy(checksum.begin(), checksum.end(), png.begin() + 29);
}

void claim_jpeg_size(std::vector<uint8_t>& jpeg, uint16_t width, uint16_t height) {
  for (size_t at = 2; at + 9 < jpeg.size();) {
    const uint8_t marker = jpeg[at + 1];
    if (marker >= 0xc0 && marker <= 0xca && marker != 0xc4 && marker != 0xc8) {
      jpeg[at + 5] = static_cast<uint8_t>(height >> 8);
      jpeg[at + 6] = static_cast<uint8_t>(height);
      jpeg[at + 7] = static_cast<uint8_t>(width >> 8);
      jpeg[at + 8] = static_cast<uint8_t>(width);
      return;
    }
    at += 2 + static_cast<size_t>(jpeg[at + 2] << 8 | jpeg[at + 3]);
  }
  throw std::logic_error("claim_jpeg_size: no frame header");
}

}  // namespace om::test
