#include "train/pixels.h"

#include <cstring>
#include <vector>

#include "autograd/grad.h"
#include "autograd/ops.h"

namespace om {

const std::array<float, 256>& pixel_values() {
  static const std::array<float, 256> values = [] {
    std::array<float, 256> table{};
    for (std::size_t v = 0; v < table.size(); ++v)
      table[v] = static_cast<float>(static_cast<double>(v) / 255 * 2 - 1);
    return table;
  }();
  return values;
}

PixelTable::PixelTable(Backend& backend)
    : values_(Tensor::from_host(std::span<const float>(pixel_values()), {1, 256}, backend)) {}

Tensor PixelTable::operator()(const Tensor& pixels) const {
  if (pixels.dtype() != DType::u8) fail("pixels: expects u8, got ", name_of(pixels.dtype()));
  const NoGrad no_grad;
  const Tensor index = cast(pixels, DType::i32);
  return reshape(gather(values_, index.with_shape({1, index.elements()})), pixels.shape());
}

PixelFeed::~PixelFeed() {
  for (Buffer& buffer : buffers_) clear(buffer);
}

void PixelFeed::clear(Buffer& buffer) {
  buffer.uploaded.reset();  // waits
  if (buffer.data != nullptr) backend_.release_pinned(buffer.data);
  buffer.data = nullptr;
  buffer.size = 0;
}

Tensor PixelFeed::operator()(std::span<const std::uint8_t> pixels, const Shape& shape) {
  if (backend_.host_memory()) return Tensor::from_host(pixels, shape, backend_);
  Tensor result = Tensor::empty(shape, DType::u8, backend_);
  if (pixels.size() != result.storage()->bytes())
    fail("pixels: shape ", shape, " expects ", result.storage()->bytes(), " bytes, got ", pixels.size());
  if (pixels.empty()) return result;
  Buffer& buffer = buffers_[next_];
  next_ = (next_ + 1) % kBuffers;
  if (buffer.uploaded) buffer.uploaded->wait();
  buffer.uploaded.reset();
  if (buffer.size < pixels.size()) {
    clear(buffer);
    buffer.data = backend_.allocate_pinned(pixels.size());
    buffer.size = pixels.size();
  }
  std::memcpy(buffer.data, pixels.data(), pixels.size());
  backend_.copy_from_host(result.out().data, buffer.data, pixels.size());
  buffer.uploaded = backend_.read_later(result.in().data, 1);
  return result;
}

}  // namespace om
