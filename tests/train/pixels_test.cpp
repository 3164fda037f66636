// 8-bit pixels on a device: the bits that to_tensor gives, and buffers that are not filled again too early.
#include "train/pixels.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "tensor/error.h"
#include "tensor/registry.h"
#include "tests/train/queued_backend.h"
#include "train/evaluate.h"

namespace om {
namespace {

/// All 256 values and some more, as two images of 11 pixels a side.
std::vector<std::uint8_t> pixels() {
  std::vector<std::uint8_t> values(2 * 11 * 11 * 3);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::uint8_t>(i * 7 + i / 256);
  return values;
}

std::vector<std::uint32_t> bits(const std::vector<float>& values) {
  std::vector<std::uint32_t> words(values.size());
  std::memcpy(words.data(), values.data(), values.size() * sizeof(float));
  return words;
}

void expect_same_bits(Backend& device) {
  const Shape shape{2, 11, 11, 3};
  PixelFeed feed(device);
  const Tensor bytes = feed(pixels(), shape);
  EXPECT_EQ(bytes.dtype(), DType::u8);
  const Tensor floats = PixelTable(device)(bytes);
  EXPECT_EQ(floats.shape(), shape);
  EXPECT_EQ(bits(floats.to_host<float>()), bits(to_tensor(pixels(), 2, 11, backend("cpu")).to_host<float>()));
}

TEST(Pixels, HaveTheBitsOfToTensorOnEveryBackend) {
  for (const char* name : {"cpu", "reference"}) {
    SCOPED_TRACE(name);
    expect_same_bits(backend(name));
  }
  test::QueuedBackend queued(true);
  expect_same_bits(queued);
}

TEST(Pixels, GoThroughBuffersInTurn) {
  test::QueuedBackend device(true);
  PixelFeed feed(device);
  std::vector<Tensor> uploads;
  const auto value = [](std::size_t i) { return static_cast<std::uint8_t>(10 + i); };
  for (std::size_t i = 0; i < 8; ++i) {
    std::vector<std::uint8_t> bytes(i < 5 ? 12 : 48, value(i));  // the buffers grow
    const Shape shape{static_cast<std::int64_t>(bytes.size()) / 12, 2, 2, 3};
    uploads.push_back(feed(bytes, shape));
    std::fill(bytes.begin(), bytes.end(), std::uint8_t{0});  // the caller's again
  }
  EXPECT_EQ(device.early_reads, 0);
  EXPECT_EQ(device.most_reads, PixelFeed::kBuffers);
  for (std::size_t i = 0; i < uploads.size(); ++i)
    for (const std::uint8_t v : uploads[i].to_host<std::uint8_t>()) ASSERT_EQ(v, value(i)) << i;
}

TEST(Pixels, SizesThatDifferAreAnError) {
  test::QueuedBackend device(true);
  for (Backend* where : {static_cast<Backend*>(&device), &backend("cpu")}) {
    PixelFeed feed(*where);
    const PixelTable table(*where);
    EXPECT_THROW(feed(pixels(), {1, 11, 11, 3}), Error);
    EXPECT_THROW(table(Tensor::zeros({2}, DType::f32, *where)), Error);
    EXPECT_EQ(feed({}, {0, 4, 4, 3}).elements(), 0);
  }
}

}  // namespace
}  // namespace om
