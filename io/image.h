// An 8-bit RGB image on the host, and the way in from PNG, JPEG and WebP files and out to PNG and
// JPEG.
//
// What a file holds becomes what Pillow's Image.open, exif_transpose and convert("RGB") give: grey is
// repeated into three channels, palettes are looked up, alpha is dropped (not composited), CMYK is multiplied
// out, the orientation of EXIF or XMP is applied, of an animation the first frame is taken. One difference on
// purpose: 16-bit PNGs keep their high byte, grey ones too, where Pillow clips 16-bit grey at 255. Colour
// profiles and gamma are ignored, as there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace om {

/// Pixels an image file may claim; checked in its header, before any pixel is allocated.
inline constexpr int64_t kMaxImagePixels = 100'000'000;

/// While it lives, in this thread, they may claim no more than this: for pictures that strangers send.
class PixelLimit {
 public:
  explicit PixelLimit(int64_t pixels) : before_(limit_) { limit_ = pixels; }
  ~PixelLimit() { limit_ = before_; }
  PixelLimit(const PixelLimit&) = delete;
  PixelLimit& operator=(const PixelLimit&) = delete;

  static int64_t here() { return limit_; }

 private:
  static inline thread_local int64_t limit_ = kMaxImagePixels;
  int64_t before_;
};

/// Bytes an image file may have.
inline constexpr uint64_t kMaxImageFileBytes = uint64_t{512} << 20;

/// 8-bit RGB, row by row, three bytes a pixel: [height, width, 3].
struct Image {
  int height = 0;
  int width = 0;
  std::vector<uint8_t> pixels;

  Image() = default;
  /// Black, of the given size.
  Image(int rows, int columns)
      : height(rows), width(columns), pixels(static_cast<size_t>(rows) * static_cast<size_t>(columns) * 3) {}

  size_t row_bytes() const { return static_cast<size_t>(width) * 3; }
  uint8_t* row(int y) { return pixels.data() + static_cast<size_t>(y) * row_bytes(); }
  const uint8_t* row(int y) const { return pixels.data() + static_cast<size_t>(y) * row_bytes(); }
  uint8_t& at(int y, int x, int channel) { return row(y)[static_cast<size_t>(x) * 3 + channel]; }
  uint8_t at(int y, int x, int channel) const { return row(y)[static_cast<size_t>(x) * 3 + channel]; }
  bool operator==(const Image&) const = default;
};

/// Reads a PNG, JPEG or WebP file, told apart by their first bytes, never by the name. InputError `FILE:
/// reason` where the file is missing, a folder, too large, of another kind, truncated or broken in any way:
/// no half-decoded image comes back.
Image read_image(const std::filesystem::path& file);

/// The same from memory; `name` stands for the file in errors.
Image decode_image(std::span<const uint8_t> bytes, std::string_view name);

/// The formats by themselves. InputError as above.
Image decode_png(std::span<const uint8_t> bytes, std::string_view name);
Image decode_jpeg(std::span<const uint8_t> bytes, std::string_view name);
Image decode_webp(std::span<const uint8_t> bytes, std::string_view name);

/// A whole file in memory. Equal images give equal bytes: no time, no text, fixed settings. Quality is 1 to
/// 100, as libjpeg counts it, with chroma at half resolution. Error where the image is empty or too large for
/// the format.
std::vector<uint8_t> encode_png(const Image& image);
std::vector<uint8_t> encode_jpeg(const Image& image, int quality);

/// Encodes, writes beside `file` and renames: either the whole new file stands there or what stood there
/// before. Error `FILE: cannot write: reason` (full disk, no permission, no such folder).
void write_png(const std::filesystem::path& file, const Image& image);
void write_jpeg(const std::filesystem::path& file, const Image& image, int quality);

}  // namespace om
