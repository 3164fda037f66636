// Philox's published test vectors (Salmon et al. 2011, Random123's kat_vectors), and what the cpu backend
// says where there is no memory.
#include "tensor/philox.h"

#include <gtest/gtest.h>

#include <limits>

#include "tensor/registry.h"

/// AddressSanitizer then refuses an impossible allocation as malloc does, instead of reporting it.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }

namespace om {
namespace {

TEST(Philox, GivesThePublishedWords) {
  EXPECT_EQ(philox::block({0, 0}, 0), (philox::Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const std::uint64_t ones = ~std::uint64_t{0};
  EXPECT_EQ(philox::block({ones, ones}, ones),
            (philox::Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox::block({0x299f31d0a4093822, 0x0370734413198a2e}, 0x85a308d3243f6a88),
            (philox::Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(CpuBackend, NoMemoryIsAnError) {
  EXPECT_THROW(backend("cpu").allocate(std::numeric_limits<std::size_t>::max() - 5), OutOfMemory);
  EXPECT_THROW(backend("cpu").allocate(std::size_t{1} << 60), OutOfMemory);
}

}  // namespace
}  // namespace om
