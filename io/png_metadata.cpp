// Where programs leave EXIF and XMP in a PNG (PNG specification, third edition, 11.3.3 and 11.3.4.2):
//
//   eXIf                                   EXIF, with or without "Exif\0\0" before it
//   "Raw profile type exif"  tEXt zTXt iTXt  ImageMagick's: a name, a length and EXIF in hexadecimal digits
//   "XML:com.adobe.xmp"      iTXt tEXt zTXt  XMP
//
// A later chunk replaces an earlier one of its kind, eXIf goes before the raw profile and EXIF before XMP, as
// in Pillow. No other text is unpacked. What is broken, or larger than a text may be, counts as not there.
#include "io/png_metadata.h"

#include <zlib.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/bytes.h"
#include "io/exif.h"
#include "tensor/error.h"

namespace om {
namespace {

constexpr size_t kMaxText = size_t{1} << 20;       // unpacked, of one chunk
constexpr size_t kMaxAllTexts = size_t{64} << 20;  // of all of them
constexpr std::string_view kXmpKey = "XML:com.adobe.xmp", kProfileKey = "Raw profile type exif";

/// What zlib packed; nothing where it is broken or too large. A stream that ends early gives what is there.
std::optional<std::string> unpacked(std::string_view packed, size_t& budget) {
  z_stream stream = {};
  if (inflateInit(&stream) != Z_OK) fail<OutOfMemory>("not enough memory to unpack a PNG's text");
  std::string out;
  int status = Z_OK;
  try {
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));  // zlib only reads it
    stream.avail_in = static_cast<uInt>(packed.size());
    const size_t most = std::min(kMaxText, budget) + 1;
    while (status == Z_OK && out.size() < most) {
      const size_t before = out.size();
      out.resize(std::min(most, before + (size_t{1} << 14)));
      stream.next_out = reinterpret_cast<Bytef*>(out.data() + before);
      stream.avail_out = static_cast<uInt>(out.size() - before);
      status = inflate(&stream, Z_NO_FLUSH);
      out.resize(out.size() - stream.avail_out);
    }
    budget -= std::min(budget, out.size());
    inflateEnd(&stream);
  } catch (...) {
    inflateEnd(&stream);
    throw;
  }
  if (status == Z_MEM_ERROR) fail<OutOfMemory>("not enough memory to unpack a PNG's text");
  const bool whole_or_cut = status == Z_STREAM_END || status == Z_BUF_ERROR;
  if (!whole_or_cut || out.size() > kMaxText) return std::nullopt;
  return out;
}

/// Takes what stands before the next zero byte off `rest`; nothing where there is none.
std::optional<std::string_view> take_until_zero(std::string_view& rest) {
  const size_t zero = rest.find('\0');
  if (zero == std::string_view::npos) return std::nullopt;
  const std::string_view word = rest.substr(0, zero);
  rest.remove_prefix(zero + 1);
  return word;
}

/// The bytes behind three lines of a raw profile; nothing where there is anything but digits and blanks.
std::vector<uint8_t> profile_bytes(std::string_view profile) {
  for (int line = 0; line < 3; ++line) {
    const size_t end = profile.find('\n');
    if (end == std::string_view::npos) return {};
    profile.remove_prefix(end + 1);
  }
  std::vector<uint8_t> bytes;
  int high = -1;
  for (const char c : profile) {
    if (std::string_view(" \t\n\v\f\r").find(c) != std::string_view::npos) continue;
    const size_t digit = std::string_view("0123456789abcdef").find(static_cast<char>(c | 0x20));
    if (digit == std::string_view::npos || (c < '0' || (c > '9' && c < 'A'))) return {};
    if (high < 0) {
      high = static_cast<int>(digit);
    } else {
      bytes.push_back(static_cast<uint8_t>(high << 4 | static_cast<int>(digit)));
      high = -1;
    }
  }
  if (high >= 0) return {};
  return bytes;
}

class Metadata {
 public:
  void take(std::string_view type, std::string_view data) {
    if (type == "eXIf") exif_.emplace(data.begin(), data.end());
    if (type == "tEXt" || type == "zTXt") take_text(type, data);
    if (type == "iTXt") take_international(data);
  }

  int orientation() const {
    const std::vector<uint8_t> exif = exif_      ? *exif_
                                      : profile_ ? profile_bytes(*profile_)
                                                 : std::vector<uint8_t>();
    return orientation_of(exif, xmp_text_.empty() ? xmp_ : xmp_text_);
  }

 private:
  static bool wanted(std::string_view key) { return key == kXmpKey || key == kProfileKey; }

  void keep(std::string_view key, std::string text) {
    if (key == kProfileKey)
      profile_ = std::move(text);
    else if (key == kXmpKey)
      xmp_text_ = std::move(text);
  }

  void take_text(std::string_view type, std::string_view data) {
    const std::optional<std::string_view> key = take_until_zero(data);
    if (!key) return;
    if (*key == "exif" && type == "tEXt") exif_.emplace(data.begin(), data.end());
    if (!wanted(*key)) return;
    if (type == "tEXt") return keep(*key, std::string(data));
    if (data.empty() || data[0] != 0) return;  // an unknown packing
    if (std::optional<std::string> text = unpacked(data.substr(1), budget_)) keep(*key, std::move(*text));
  }

  /// Keyword, whether it is packed and how, language, translated keyword, text.
  void take_international(std::string_view data) {
    const std::optional<std::string_view> key = take_until_zero(data);
    if (!key || !wanted(*key) || data.size() < 2) return;
    const bool packed = data[0] != 0, known_packing = data[1] == 0;
    data.remove_prefix(2);
    if (!take_until_zero(data) || !take_until_zero(data) || (packed && !known_packing)) return;
    const std::optional<std::string> text = packed ? unpacked(data, budget_) : std::string(data);
    if (!text) return;
    if (*key == kXmpKey) xmp_ = *text;
    if (is_utf8_text(*text)) keep(*key, *text);
  }

  std::optional<std::vector<uint8_t>> exif_;
  std::optional<std::string> profile_;
  std::string xmp_text_, xmp_;  // the latter in whatever encoding
  size_t budget_ = kMaxAllTexts;
};

uint32_t number_at(std::span<const uint8_t> bytes, size_t at) {
  return uint32_t{bytes[at]} << 24 | uint32_t{bytes[at + 1]} << 16 | uint32_t{bytes[at + 2]} << 8 |
         bytes[at + 3];
}

}  // namespace

int png_orientation(std::span<const uint8_t> file) {
  constexpr size_t signature = 8;
  constexpr size_t around = 12;  // length, type and checksum
  Metadata metadata;
  for (size_t at = signature; at + around <= file.size();) {
    const size_t length = number_at(file, at);
    if (length > file.size() - at - around) break;
    const std::string_view type = characters(file.subspan(at + 4, 4));
    if (type == "IEND") break;
    const bool text = type == "eXIf" || type == "tEXt" || type == "zTXt" || type == "iTXt";
    if (text && crc32(0, &file[at + 4], static_cast<uInt>(4 + length)) == number_at(file, at + 8 + length))
      metadata.take(type, characters(file.subspan(at + 8, length)));
    at += around + length;
  }
  return metadata.orientation();
}

}  // namespace om
