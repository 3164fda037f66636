// PNG through libpng.
//
// Reading: libpng's transformations bring every kind of PNG to 8-bit RGB; rows are decoded one by one into
// memory that grows with them (an interlaced image, whose passes revisit rows, is allocated at once). Deflate
// expands by at most 1032:1, so a header that claims more than that of the file is refused before any
// allocation, and so is a chunk that claims more than the file. libpng skips the ancillary chunks unread;
// png_metadata.cpp looks for the orientation in them.
//
// Writing: each line by the filter that libpng deems best, then a deflate that looks for runs alone. Longer
// matches are rare in what filters leave of a photograph: of 256 pixels a side it takes 4.2 ms and 112.2 KB,
// with zlib's level 6 17.0 ms and 111.3 KB.
#include <png.h>
#include <zlib.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "io/exif.h"
#include "io/image_codec.h"
#include "io/longjmp_guard.h"
#include "io/png_metadata.h"

namespace om {
namespace {

constexpr int64_t kDeflateLimit = 1032;
constexpr int64_t kMaxSide = 1'000'000;  // bounds libpng's own row buffers

struct Source {
  std::span<const uint8_t> rest;
};

void on_error(png_structp png, png_const_charp reason) {
  escape_with(*static_cast<Escape*>(png_get_error_ptr(png)), reason);
}

void on_warning(png_structp, png_const_charp) {}

/// libpng and the zlib below it blame the file where they get no memory, so it is noted here.
png_voidp allocate(png_structp png, png_alloc_size_t bytes) {
  void* block = std::malloc(bytes);
  if (block == nullptr) static_cast<Escape*>(png_get_mem_ptr(png))->no_memory = true;
  return block;
}

void release(png_structp, png_voidp block) { std::free(block); }

void read_bytes(png_structp png, png_bytep to, size_t count) {
  auto& source = *static_cast<Source*>(png_get_io_ptr(png));
  if (count > source.rest.size()) png_error(png, "the file ends too early");
  std::memcpy(to, source.rest.data(), count);
  source.rest = source.rest.subspan(count);
}

void write_bytes(png_structp png, png_bytep from, size_t count) {
  if (!append(*static_cast<std::vector<uint8_t>*>(png_get_io_ptr(png)), {from, count})) {
    static_cast<Escape*>(png_get_error_ptr(png))->no_memory = true;
    png_error(png, "no memory");
  }
}

void flush(png_structp) {}

/// libpng's reader and all that belongs to it; its errors escape to `escape`.
struct Reader {
  Escape escape;
  Source source;
  png_structp png = nullptr;
  png_infop info = nullptr;

  explicit Reader(std::span<const uint8_t> bytes) : source{bytes} {}
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }

  bool open() {
    png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &escape, on_error, on_warning, &escape, allocate,
                                   release);
    if (png != nullptr) info = png_create_info_struct(png);
    return info != nullptr;
  }
};

struct Writer {
  Escape escape;
  std::vector<uint8_t> bytes;
  png_structp png = nullptr;
  png_infop info = nullptr;

  Writer() = default;
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() { png_destroy_write_struct(&png, &info); }

  bool open() {
    png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &escape, on_error, on_warning, &escape, allocate,
                                    release);
    if (png != nullptr) info = png_create_info_struct(png);
    return info != nullptr;
  }
};

void skip_unused_chunks(png_structp png) {
  // Names of five bytes, as libpng wants them: those of the chunks it would otherwise parse.
  static constexpr png_byte unused[] =
      "bKGD\0cHRM\0eXIf\0gAMA\0hIST\0iCCP\0iTXt\0oFFs\0pCAL\0sBIT\0sCAL\0sPLT\0sRGB\0sTER\0tEXt\0tIME\0tRNS\0"
      "zTXt\0"
      "pHYs";
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr, 0);
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, unused, static_cast<int>(sizeof unused / 5));
}

/// Whatever the file holds comes out as 8-bit RGB.
void ask_for_rgb(png_structp png, int color_type, int bit_depth) {
  if (bit_depth == 16) png_set_strip_16(png);  // the high byte; scaling would round differently from Pillow
  if (color_type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
  if (color_type == PNG_COLOR_TYPE_GRAY && bit_depth < 8) png_set_expand_gray_1_2_4_to_8(png);
  png_set_strip_alpha(png);
  if ((color_type & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(png);
}

/// Refuses a chunk that claims more than the file holds.
void check_chunks(std::span<const uint8_t> bytes, std::string_view name) {
  constexpr size_t signature = 8;
  constexpr size_t around = 12;  // length, type and checksum
  for (size_t at = signature; at < bytes.size();) {
    const size_t left = bytes.size() - at;
    if (left < around || png_get_uint_32(&bytes[at]) > left - around) {
      fail<InputError>(name, ": broken PNG: the file ends too early");
    }
    if (std::memcmp(&bytes[at + 4], "IEND", 4) == 0) return;  // what follows is not looked at
    at += around + png_get_uint_32(&bytes[at]);
  }
}

}  // namespace

Image decode_png(std::span<const uint8_t> bytes, std::string_view name) {
  check_chunks(bytes, name);
  Reader reader(bytes);
  const auto check = [&](bool went_well) {
    if (went_well) return;
    reader.escape.check_memory("to read ", name);
    fail<InputError>(name, ": broken PNG: ", reader.escape.reason);
  };

  check(reader.open());
  png_uint_32 width = 0;
  png_uint_32 height = 0;
  int bit_depth = 0;
  int color_type = 0;
  check(guarded(reader.escape, [&] {
    png_set_read_fn(reader.png, &reader.source, read_bytes);
    png_set_user_limits(reader.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // check_claimed_size words it better
    png_set_chunk_malloc_max(reader.png, size_t{8} << 20);
    skip_unused_chunks(reader.png);
    png_read_info(reader.png, reader.info);
    png_get_IHDR(reader.png, reader.info, &width, &height, &bit_depth, &color_type, nullptr, nullptr,
                 nullptr);
  }));
  check_claimed_size(width, height, name);
  if (width > kMaxSide || height > kMaxSide) {
    fail<InputError>(name, ": ", width, "x", height, " pixels, over the limit of ", kMaxSide, " a side");
  }
  const auto packed_row = static_cast<int64_t>(png_get_rowbytes(reader.png, reader.info));
  if (packed_row * height > kDeflateLimit * static_cast<int64_t>(bytes.size())) {
    fail_claim(width, height, bytes.size(), name);
  }

  size_t row_bytes = 0;
  int passes = 1;
  check(guarded(reader.escape, [&] {
    ask_for_rgb(reader.png, color_type, bit_depth);
    passes = png_set_interlace_handling(reader.png);
    png_read_update_info(reader.png, reader.info);
    row_bytes = png_get_rowbytes(reader.png, reader.info);
  }));

  Image image;
  image.height = static_cast<int>(height);
  image.width = static_cast<int>(width);
  if (row_bytes != image.row_bytes()) fail(name, ": libpng gives ", row_bytes, " bytes a row, expected RGB");
  const size_t total = row_bytes * height;
  if (passes > 1) image.pixels.resize(total);
  check(guarded(reader.escape, [&] {
    for (int pass = 0; pass < passes; ++pass) {
      for (int y = 0; y < image.height; ++y) {
        if (passes == 1) grow(image.pixels, (static_cast<size_t>(y) + 1) * row_bytes, total);
        png_read_row(reader.png, image.row(y), nullptr);
      }
    }
    png_read_end(reader.png, reader.info);
  }));
  return oriented(std::move(image), png_orientation(bytes));
}

std::vector<uint8_t> encode_png(const Image& image) {
  if (image.width < 1 || image.height < 1 || image.pixels.size() != image.row_bytes() * image.height) {
    fail("encode_png: expected an image of at least one pixel with 3 bytes each, got ", image.height, "x",
         image.width, " and ", image.pixels.size(), " bytes");
  }
  Writer writer;
  const bool went_well =
      writer.open() && guarded(writer.escape, [&] {
        png_set_write_fn(writer.png, &writer.bytes, write_bytes, flush);
        png_set_IHDR(writer.png, writer.info, static_cast<png_uint_32>(image.width),
                     static_cast<png_uint_32>(image.height), 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                     PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
        png_set_compression_strategy(writer.png, Z_RLE);
        png_write_info(writer.png, writer.info);
        for (int y = 0; y < image.height; ++y) png_write_row(writer.png, image.row(y));
        png_write_end(writer.png, nullptr);
      });
  if (!went_well) {
    writer.escape.check_memory("to write a PNG");
    fail("encode_png: ", writer.escape.reason);
  }
  return std::move(writer.bytes);
}

}  // namespace om
