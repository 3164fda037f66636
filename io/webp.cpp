// WebP through libwebp: lossy and lossless, with or without alpha (which is dropped); of an animation the
// first frame, on a black canvas where it does not fill it.
//
// libwebp's demuxer finds the frame, EXIF and XMP, and refuses a file that ends before its chunks do. A frame
// may be of one colour and take no bytes a pixel, so a header's claim is bounded by the cap on pixels alone.
#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>

#include "io/exif.h"
#include "io/image_codec.h"
#include "io/shortage.h"

namespace om {
namespace {

struct DeleteDemuxer {
  void operator()(WebPDemuxer* demuxer) const { WebPDemuxDelete(demuxer); }
};

struct Frame : WebPIterator {
  Frame() : WebPIterator{} {}
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;
  ~Frame() { WebPDemuxReleaseIterator(this); }
};

/// The content of the file's first chunk of this name; empty where there is none.
std::span<const uint8_t> chunk_of(const WebPDemuxer& demuxer, const char* name) {
  WebPChunkIterator chunk = {};
  std::span<const uint8_t> data;
  if (WebPDemuxGetChunk(&demuxer, name, 1, &chunk) != 0) data = {chunk.chunk.bytes, chunk.chunk.size};
  WebPDemuxReleaseChunkIterator(&chunk);  // the bytes are the file's own
  return data;
}

const char* reason_of(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_BITSTREAM_ERROR: return "the compressed data are damaged";
    case VP8_STATUS_UNSUPPORTED_FEATURE: return "a feature that libwebp does not know";
    case VP8_STATUS_NOT_ENOUGH_DATA: return "the file ends too early";
    default: return "it cannot be decoded";
  }
}

}  // namespace

Image decode_webp(std::span<const uint8_t> bytes, std::string_view name) {
  const Shortage shortage;
  const auto broken = [&](const char* reason) {
    shortage.check("to read ", name);
    fail<InputError>(name, ": broken WebP: ", reason);
  };
  const WebPData data = {bytes.data(), bytes.size()};
  const std::unique_ptr<WebPDemuxer, DeleteDemuxer> demuxer(WebPDemux(&data));
  if (!demuxer) broken("its chunks do not fit together or end too early");
  const int64_t width = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH);
  const int64_t height = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT);
  check_claimed_size(width, height, name);

  Frame frame;
  if (WebPDemuxGetFrame(demuxer.get(), 1, &frame) == 0) broken("it holds no picture");
  if (frame.x_offset < 0 || frame.y_offset < 0 || frame.width < 1 || frame.height < 1 ||
      int64_t{frame.x_offset} + frame.width > width || int64_t{frame.y_offset} + frame.height > height)
    broken("its picture lies outside of its canvas");
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0) fail(name, ": another version of libwebp than this was built for");
  VP8StatusCode status = WebPGetFeatures(frame.fragment.bytes, frame.fragment.size, &config.input);
  if (status != VP8_STATUS_OK) broken(reason_of(status));
  if (config.input.width != frame.width || config.input.height != frame.height)
    broken("its picture has another size than it says");

  Image image(static_cast<int>(height), static_cast<int>(width));
  const size_t before = static_cast<size_t>(frame.x_offset) * 3;
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA = {image.row(frame.y_offset) + before, static_cast<int>(image.row_bytes()),
                          static_cast<size_t>(frame.height) * image.row_bytes() - before};
  status = WebPDecode(frame.fragment.bytes, frame.fragment.size, &config);
  WebPFreeDecBuffer(&config.output);
  if (status == VP8_STATUS_OUT_OF_MEMORY) fail<OutOfMemory>("not enough memory to read ", name);
  if (status != VP8_STATUS_OK) broken(reason_of(status));
  return oriented(std::move(image),
                  orientation_of(chunk_of(*demuxer, "EXIF"), characters(chunk_of(*demuxer, "XMP "))));
}

}  // namespace om
