// Offsets beyond 32 bits, at the cost of a few pages: an array of 4 GiB of which next to nothing is touched.
#include <gtest/gtest.h>

#include "tensor/registry.h"
#include "tensor/tensor.h"

namespace om {
namespace {

using Bytes = std::vector<std::uint8_t>;

class Offsets : public testing::TestWithParam<const char*> {};

TEST_P(Offsets, OfCopiesAreSixtyFourBit) {
  Backend& on = backend(GetParam());
  const std::int64_t half = std::int64_t{1} << 31, whole = 2 * half;
  Tensor large;
  try {
    large = Tensor::empty({whole + 64}, DType::u8, on);
  } catch (const OutOfMemory& error) {
    GTEST_SKIP() << error.what();
  }
  const Tensor rows = Tensor::from_host(Bytes{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, {3, 4}, on);
  // Three rows, 2^31 apart, the last beyond 2^32.
  on.strided_copy(rows.in(), 0, {4, 1}, large.out(), 8, {half, 1}, {3, 4});
  const Tensor back = Tensor::zeros({3, 4}, DType::u8, on);
  on.strided_copy(large.in(), whole + 11, {-half, -1}, back.out(), 0, {4, 1}, {3, 4});
  EXPECT_EQ(back.to_host<std::uint8_t>(), Bytes({12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1}));
  const Tensor line = Tensor::zeros({1, 4}, DType::u8, on);
  on.strided_copy(large.in(), whole + 8, {0, 1}, line.out(), 0, {4, 1}, {1, 4});
  EXPECT_EQ(line.to_host<std::uint8_t>(), Bytes({9, 10, 11, 12}));
  large = {};
  on.memory().release_cached();
}

INSTANTIATE_TEST_SUITE_P(Backends, Offsets, testing::Values("reference", "cpu"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace om
