// What the formats share: telling them apart, and the way through files.
#include "io/image.h"

#include <algorithm>
#include <array>

#include "io/atomic_file.h"
#include "io/bytes.h"
#include "io/image_codec.h"
#include "tensor/error.h"

namespace om {
namespace {

bool starts_with(std::span<const uint8_t> bytes, std::span<const uint8_t> magic) {
  return bytes.size() >= magic.size() && std::equal(magic.begin(), magic.end(), bytes.begin());
}

void write_bytes(const std::filesystem::path& file, std::span<const uint8_t> bytes) {
  AtomicFile out(file.string(), /*durable=*/false);
  out.write(std::as_bytes(bytes));
  out.commit();
}

}  // namespace

Image decode_image(std::span<const uint8_t> bytes, std::string_view name) {
  static constexpr std::array<uint8_t, 8> png = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  static constexpr std::array<uint8_t, 3> jpeg = {0xff, 0xd8, 0xff};
  static constexpr std::array<uint8_t, 4> riff = {'R', 'I', 'F', 'F'}, webp = {'W', 'E', 'B', 'P'};
  if (bytes.empty()) fail<InputError>(name, ": is empty");
  if (starts_with(bytes, png)) return decode_png(bytes, name);
  if (starts_with(bytes, jpeg)) return decode_jpeg(bytes, name);
  // "RIFF", the length, "WEBP"
  if (bytes.size() >= 12 && starts_with(bytes, riff) && starts_with(bytes.subspan(8), webp))
    return decode_webp(bytes, name);
  fail<InputError>(name, ": is no PNG, JPEG or WebP image");
}

Image read_image(const std::filesystem::path& file) {
  const std::shared_ptr<const ByteSource> source = open_source(file.string());
  if (source->size() > kMaxImageFileBytes) {
    fail<InputError>(one_line(file), ": has ", source->size(), " bytes, over the limit of ",
                     kMaxImageFileBytes);
  }
  std::vector<uint8_t> bytes(source->size());
  source->read_at(0, std::as_writable_bytes(std::span(bytes)));
  return decode_image(bytes, one_line(file));
}

void write_png(const std::filesystem::path& file, const Image& image) {
  write_bytes(file, encode_png(image));
}

void write_jpeg(const std::filesystem::path& file, const Image& image, int quality) {
  write_bytes(file, encode_jpeg(image, quality));
}

}  // namespace om
