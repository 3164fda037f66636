// JPEG through libjpeg-turbo: grey, YCbCr, RGB, CMYK and YCCK; baseline, progressive, arithmetic.
//
// libjpeg repairs what it can and warns. Warnings that mean lost picture data (the file or a scan ends early,
// codes that do not exist) are errors here, since half a grey image must not train anything; the harmless
// ones (stray bytes between segments, an odd Adobe marker) pass, as in Pillow.
//
// Huffman coding spends at least one bit on each 8x8 block of the component with full resolution, so a file
// of n bytes holds at most 512 n pixels; a header that claims more is refused before libjpeg allocates for
// it.
#include <cstdio>  // jpeglib.h needs it first

#include <jpeglib.h>

#include <jerror.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "io/exif.h"
#include "io/image_codec.h"
#include "io/longjmp_guard.h"

namespace om {
namespace {

constexpr int kMaxScans =
    500;  // a progressive file of tiny scans would cost a pass over the whole image each
constexpr int64_t kPixelsPerByte = 512;

void on_error(j_common_ptr info) {
  char reason[JMSG_LENGTH_MAX];
  info->err->format_message(info, reason);
  auto& escape = *static_cast<Escape*>(info->client_data);
  escape.no_memory = info->err->msg_code == JERR_OUT_OF_MEMORY;
  escape_with(escape, reason);
}

bool loses_picture_data(int warning) {
  switch (warning) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
    case JWRN_NOT_SEQUENTIAL: return true;
    default: return false;
  }
}

void on_message(j_common_ptr info, int level) {
  if (level < 0 && loses_picture_data(info->err->msg_code)) on_error(info);
}

void on_output(j_common_ptr) {}

void on_progress(j_common_ptr info) {
  if (!info->is_decompressor) return;
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kMaxScans) {
    escape_with(*static_cast<Escape*>(info->client_data), "more than 500 scans");
  }
}

void set_handlers(jpeg_error_mgr& errors) {
  jpeg_std_error(&errors);
  errors.error_exit = on_error;
  errors.emit_message = on_message;
  errors.output_message = on_output;
}

/// libjpeg's reader and all that belongs to it. It points into itself, so it stays where it is.
struct Reader {
  Escape escape;
  jpeg_error_mgr errors = {};
  jpeg_progress_mgr progress = {};
  jpeg_decompress_struct info = {};

  Reader() {
    set_handlers(errors);
    progress.progress_monitor = on_progress;
    info.err = &errors;
    info.client_data = &escape;
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { jpeg_destroy_decompress(&info); }
};

/// Where libjpeg's writer leaves its bytes: a buffer that it fills and we empty.
struct Destination : jpeg_destination_mgr {
  std::array<uint8_t, 1 << 14> buffer;
  std::vector<uint8_t> bytes;

  Destination() : jpeg_destination_mgr{} {
    init_destination = [](j_compress_ptr) {};
    empty_output_buffer = [](j_compress_ptr info) -> boolean {
      drain(info, std::tuple_size_v<decltype(buffer)>);  // free_in_buffer is stale here: all of it counts
      return TRUE;
    };
    term_destination = [](j_compress_ptr info) {
      drain(info, std::tuple_size_v<decltype(buffer)> - info->dest->free_in_buffer);
    };
    refill();
  }

  void refill() {
    next_output_byte = buffer.data();
    free_in_buffer = buffer.size();
  }

  static void drain(j_compress_ptr info, size_t filled) {
    auto& to = *static_cast<Destination*>(info->dest);
    if (!append(to.bytes, {to.buffer.data(), filled})) {
      auto& escape = *static_cast<Escape*>(info->client_data);
      escape.no_memory = true;
      escape_with(escape, "no memory");
    }
    to.refill();
  }
};

/// libjpeg's writer and all that belongs to it.
struct Writer {
  Escape escape;
  jpeg_error_mgr errors = {};
  Destination destination;
  jpeg_compress_struct info = {};

  Writer() {
    set_handlers(errors);
    info.err = &errors;
    info.client_data = &escape;
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() { jpeg_destroy_compress(&info); }
};

/// Multiplies inks out as Pillow does: 255-scaled (1-c)(1-k), rounded. Files hold inks inverted, after
/// Adobe's habit.
void inverted_cmyk_to_rgb(const uint8_t* cmyk, uint8_t* rgb, int width) {
  for (int x = 0; x < width; ++x, cmyk += 4, rgb += 3) {
    const int light = cmyk[3];
    for (int c = 0; c < 3; ++c) {
      const int ink = 255 - cmyk[c];
      rgb[c] = static_cast<uint8_t>(light - (2 * ink * light + 255) / 510);
    }
  }
}

/// EXIF may go on over several markers; of XMP's the last counts.
int stored_orientation(const jpeg_decompress_struct& info) {
  constexpr size_t name = 6;  // "Exif\0\0"
  std::vector<uint8_t> exif;
  std::string_view xmp;
  for (jpeg_saved_marker_ptr marker = info.marker_list; marker != nullptr; marker = marker->next) {
    if (marker->marker != JPEG_APP0 + 1) continue;
    const std::span<const uint8_t> data(marker->data, marker->data_length);
    if (is_exif_marker(data)) exif.insert(exif.end(), data.begin() + (exif.empty() ? 0 : name), data.end());
    if (is_xmp_marker(data)) xmp = characters(data);
  }
  return orientation_of(exif, xmp);
}

}  // namespace

Image decode_jpeg(std::span<const uint8_t> bytes, std::string_view name) {
  Reader reader;
  jpeg_decompress_struct& info = reader.info;
  const auto check = [&](bool went_well) {
    if (went_well) return;
    reader.escape.check_memory("to read ", name);
    fail<InputError>(name, ": broken JPEG: ", reader.escape.reason);
  };

  check(guarded(reader.escape, [&] {
    jpeg_create_decompress(&info);
    info.progress = &reader.progress;
    jpeg_mem_src(&info, bytes.data(), static_cast<unsigned long>(bytes.size()));
    jpeg_save_markers(&info, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&info, TRUE);
  }));
  const auto width = static_cast<int64_t>(info.image_width);
  const auto height = static_cast<int64_t>(info.image_height);
  check_claimed_size(width, height, name);
  if (!info.arith_code && width * height > kPixelsPerByte * static_cast<int64_t>(bytes.size())) {
    fail_claim(width, height, bytes.size(), name);
  }
  if (info.num_components == 2 || info.num_components > 4) {
    fail<InputError>(name, ": broken JPEG: ", info.num_components, " colour components, expected 1, 3 or 4");
  }

  const int orientation = stored_orientation(info);  // finishing frees the markers

  const bool has_inks = info.num_components == 4;
  info.out_color_space = has_inks ? JCS_CMYK : JCS_RGB;
  check(guarded(reader.escape, [&] { jpeg_start_decompress(&info); }));

  Image image;
  image.height = static_cast<int>(height);
  image.width = static_cast<int>(width);
  const size_t total = image.row_bytes() * static_cast<size_t>(height);
  std::vector<uint8_t> inks(has_inks ? static_cast<size_t>(width) * 4 : 0);
  check(guarded(reader.escape, [&] {
    for (int y = 0; y < image.height; ++y) {
      grow(image.pixels, (static_cast<size_t>(y) + 1) * image.row_bytes(), total);
      JSAMPROW row = has_inks ? inks.data() : image.row(y);
      jpeg_read_scanlines(&info, &row, 1);
      if (has_inks) inverted_cmyk_to_rgb(inks.data(), image.row(y), image.width);
    }
    jpeg_finish_decompress(&info);
  }));
  return oriented(std::move(image), orientation);
}

std::vector<uint8_t> encode_jpeg(const Image& image, int quality) {
  if (image.width < 1 || image.height < 1 || image.width > JPEG_MAX_DIMENSION ||
      image.height > JPEG_MAX_DIMENSION || image.pixels.size() != image.row_bytes() * image.height) {
    fail("encode_jpeg: expected 1 to ", JPEG_MAX_DIMENSION, " pixels a side with 3 bytes each, got ",
         image.height, "x", image.width, " and ", image.pixels.size(), " bytes");
  }
  if (quality < 1 || quality > 100) fail("encode_jpeg: quality is 1 to 100, got ", quality);
  Writer writer;
  jpeg_compress_struct& info = writer.info;
  const bool went_well = guarded(writer.escape, [&] {
    jpeg_create_compress(&info);
    info.dest = &writer.destination;
    info.image_width = static_cast<JDIMENSION>(image.width);
    info.image_height = static_cast<JDIMENSION>(image.height);
    info.input_components = 3;
    info.in_color_space = JCS_RGB;
    jpeg_set_defaults(&info);
    jpeg_set_quality(&info, quality, TRUE);
    jpeg_start_compress(&info, TRUE);
    for (int y = 0; y < image.height; ++y) {
      JSAMPROW row = const_cast<JSAMPROW>(image.row(y));  // libjpeg only reads it
      jpeg_write_scanlines(&info, &row, 1);
    }
    jpeg_finish_compress(&info);
  });
  if (!went_well) {
    writer.escape.check_memory("to write a JPEG");
    fail("encode_jpeg: ", writer.escape.reason);
  }
  return std::move(writer.destination.bytes);
}

}  // namespace om
