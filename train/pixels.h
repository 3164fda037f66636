// 8-bit pixels on a device, and as the networks take them: v / 255 * 2 - 1.
//
// Uploaded as bytes they are a quarter of what floats would be, and the device looks the floats up in a table
// of 256 values, so that they have the same bits on every backend.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "tensor/tensor.h"

namespace om {

/// The value of each of the 256: v / 255 * 2 - 1 in double, rounded once.
const std::array<float, 256>& pixel_values();

/// That table on a backend.
class PixelTable {
 public:
  explicit PixelTable(Backend& backend);
  /// pixels u8 [..] -> f32 of the same shape. Reads nothing back, so it may be recorded.
  Tensor operator()(const Tensor& pixels) const;

 private:
  Tensor values_;  // [1, 256]
};

/// Pixels on their way to a device, through pinned buffers used in turn: the caller fills the next one while
/// the device may still read the others. Where device memory is the host's they are only copied.
class PixelFeed {
 public:
  explicit PixelFeed(Backend& backend) : backend_(backend) {}
  ~PixelFeed();
  PixelFeed(const PixelFeed&) = delete;
  PixelFeed& operator=(const PixelFeed&) = delete;

  /// A u8 tensor of that shape, enqueued; `pixels` may be reused on return. Waits only where a buffer's
  /// earlier upload has not begun, kBuffers calls ago. Error where the sizes differ.
  Tensor operator()(std::span<const std::uint8_t> pixels, const Shape& shape);

  static constexpr std::size_t kBuffers = 3;

 private:
  struct Buffer {
    void* data = nullptr;
    std::size_t size = 0;
    std::unique_ptr<PendingRead> uploaded;  // arrives after the upload out of it
  };
  void clear(Buffer& buffer);

  Backend& backend_;
  std::array<Buffer, kBuffers> buffers_;
  std::size_t next_ = 0;
};

}  // namespace om
