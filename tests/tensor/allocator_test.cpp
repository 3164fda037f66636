// The caching allocator over a fake source that counts, knows its blocks and runs out when told to.
#include "tensor/allocator.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>
#include <thread>

#include "tensor/error.h"

namespace om {
namespace {

class FakeSource : public MemorySource {
 public:
  ~FakeSource() override { EXPECT_TRUE(held.empty()) << held.size() << " blocks leaked"; }
  void* allocate(std::size_t bytes) override {
    if (total + bytes > capacity) fail<OutOfMemory>("fake: full");
    void* pointer = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    held[pointer] = bytes;
    total += bytes;
    ++allocations;
    return pointer;
  }
  void release(void* pointer) override {
    const auto found = held.find(pointer);
    ASSERT_NE(found, held.end()) << "released twice, or never allocated";
    total -= found->second;
    held.erase(found);
    std::free(pointer);
  }

  std::map<void*, std::size_t> held;
  std::size_t total = 0;
  std::size_t capacity = SIZE_MAX;
  int allocations = 0;
};

struct Allocator : testing::Test {
  FakeSource source;
  CachingAllocator memory{source};
};

TEST_F(Allocator, ServesAgainWhatWasFreed) {
  void* a = memory.allocate(1000);
  memory.free(a);
  EXPECT_EQ(memory.allocate(900), a);  // same rounded size
  EXPECT_EQ(source.allocations, 1);
  memory.free(a);
}

TEST_F(Allocator, NothingForZeroBytes) {
  EXPECT_EQ(memory.allocate(0), nullptr);
  memory.free(nullptr);
  EXPECT_EQ(source.allocations, 0);
}

TEST_F(Allocator, PrefersTheBlockFreedLast) {
  void* a = memory.allocate(4096);
  void* b = memory.allocate(4096);
  memory.free(b);
  memory.free(a);
  EXPECT_EQ(memory.allocate(4096), a);
  EXPECT_EQ(memory.allocate(4096), b);
  memory.free(a);
  memory.free(b);
}

constexpr std::size_t kMiB = std::size_t{1} << 20;

TEST_F(Allocator, DoesNotWasteALargeBlockOnASmallRequest) {
  void* large = memory.allocate(8 * kMiB);
  memory.free(large);
  void* small = memory.allocate(kMiB / 2);
  EXPECT_NE(small, large);
  memory.free(small);
  EXPECT_EQ(memory.allocate(8 * kMiB - 4096), large);
  memory.free(large);
}

TEST_F(Allocator, SplitsALargeBlockAndJoinsItAgain) {
  void* whole = memory.allocate(8 * kMiB);
  memory.free(whole);
  auto* a = static_cast<char*>(memory.allocate(2 * kMiB));
  auto* b = static_cast<char*>(memory.allocate(3 * kMiB));
  auto* c = static_cast<char*>(memory.allocate(3 * kMiB));
  EXPECT_EQ(a, whole);
  EXPECT_EQ(b, a + 2 * kMiB);
  EXPECT_EQ(c, b + 3 * kMiB);
  EXPECT_EQ(source.allocations, 1);
  EXPECT_EQ(memory.statistics().live_bytes, 8 * kMiB);
  memory.free(a);
  memory.release_cached();  // a segment with a live block stays
  EXPECT_EQ(source.total, 8 * kMiB);
  memory.free(c);
  EXPECT_EQ(memory.allocate(3 * kMiB), c);  // the smallest that serves
  memory.free(c);
  memory.free(b);  // between two free neighbours
  EXPECT_EQ(memory.allocate(8 * kMiB), whole);
  EXPECT_EQ(source.allocations, 1);
  memory.free(whole);
  EXPECT_THROW(memory.free(b), Error);  // no block begins here any more
}

TEST_F(Allocator, DoesNotJoinSegments) {
  void* blocks[6];
  for (void*& block : blocks) block = memory.allocate(2 * kMiB);
  for (void* block : blocks) memory.free(block);
  void* larger = memory.allocate(4 * kMiB);
  EXPECT_EQ(source.held.count(larger), 1U);
  EXPECT_EQ(source.allocations, 7);
  memory.free(larger);
}

TEST_F(Allocator, CountsBytes) {
  void* a = memory.allocate(512);
  void* b = memory.allocate(1024);
  EXPECT_EQ(memory.statistics().live_bytes, 1536U);
  memory.free(a);
  EXPECT_EQ(memory.statistics().live_bytes, 1024U);
  EXPECT_EQ(memory.statistics().cached_bytes, 512U);
  EXPECT_EQ(memory.statistics().peak_bytes, 1536U);
  memory.reset_peak();
  EXPECT_EQ(memory.statistics().peak_bytes, 1024U);
  memory.free(b);
  memory.release_cached();
  EXPECT_EQ(memory.statistics().cached_bytes, 0U);
  EXPECT_EQ(source.total, 0U);
}

TEST_F(Allocator, ReleasesItsCacheWhenTheSourceIsFull) {
  source.capacity = 10240;
  void* a = memory.allocate(6144);
  memory.free(a);
  void* b = memory.allocate(8192);
  EXPECT_EQ(source.held.size(), 1U);
  memory.free(b);
}

TEST_F(Allocator, SaysWhatItWantedWhenThereIsNoMemory) {
  source.capacity = 4096;
  void* a = memory.allocate(2048);
  try {
    memory.allocate(5000);
    FAIL();
  } catch (const OutOfMemory& error) {
    EXPECT_STREQ(error.what(), "not enough memory: 5000 bytes wanted, 2048 in use, 0 cached (fake: full)");
  }
  EXPECT_THROW(memory.allocate(SIZE_MAX), OutOfMemory);
  EXPECT_THROW(memory.allocate(SIZE_MAX - 600), OutOfMemory);
  memory.free(a);
  EXPECT_EQ(memory.allocate(2048), a);  // still in order after the failures
  memory.free(a);
}

TEST_F(Allocator, RefusesAForeignOrTwiceFreedBlock) {
  int foreign = 0;
  EXPECT_THROW(memory.free(&foreign), Error);
  void* a = memory.allocate(64);
  memory.free(a);
  EXPECT_THROW(memory.free(a), Error);
}

TEST_F(Allocator, PrivatePoolIsKeptFromOthersUntilDropped) {
  void* shared = memory.allocate(1024);
  memory.free(shared);
  const auto pool = memory.begin_pool();
  void* recorded = memory.allocate(1024);
  EXPECT_NE(recorded, shared);
  memory.free(recorded);
  EXPECT_EQ(memory.allocate(1024), recorded);  // within the pool it is reused
  memory.free(recorded);
  memory.end_pool();
  EXPECT_EQ(memory.allocate(1024), shared);
  void* other = memory.allocate(1024);
  EXPECT_NE(other, recorded);
  memory.drop_pool(pool);
  EXPECT_EQ(source.held.count(recorded), 0U);
  memory.free(shared);
  memory.free(other);
}

TEST_F(Allocator, BlockThatOutlivesItsPoolIsReleasedWhenFreed) {
  const auto pool = memory.begin_pool();
  void* result = memory.allocate(1024);
  memory.end_pool();
  memory.drop_pool(pool);
  EXPECT_EQ(source.held.count(result), 1U);
  memory.free(result);
  EXPECT_EQ(source.held.count(result), 0U);
}

TEST_F(Allocator, BlockOfAPoolFreedLaterStaysWithThePool) {
  const auto pool = memory.begin_pool();
  void* result = memory.allocate(1024);
  memory.end_pool();
  memory.free(result);
  void* other = memory.allocate(1024);
  EXPECT_NE(other, result);
  memory.free(other);
  memory.drop_pool(pool);
}

TEST_F(Allocator, SharedBlockFreedDuringACaptureIsReusedOnlyAfterIt) {
  void* input = memory.allocate(1024);
  const auto pool = memory.begin_pool();
  memory.free(input);
  void* recorded = memory.allocate(1024);
  EXPECT_NE(recorded, input);  // replays read the input's numbers again
  memory.end_pool();
  void* later = memory.allocate(1024);
  EXPECT_NE(later, input);
  memory.free(recorded);
  memory.drop_pool(pool);
  EXPECT_EQ(memory.allocate(1024), input);
  memory.free(input);
  memory.free(later);
}

TEST_F(Allocator, PiecesOfADroppedPoolReleaseTheirSegmentTogether) {
  const auto pool = memory.begin_pool();
  void* whole = memory.allocate(8 * kMiB);
  memory.free(whole);
  void* a = memory.allocate(2 * kMiB);
  void* b = memory.allocate(2 * kMiB);
  memory.end_pool();
  memory.drop_pool(pool);
  memory.free(a);
  EXPECT_EQ(source.held.count(whole), 1U);
  memory.free(b);
  EXPECT_EQ(source.total, 0U);
  EXPECT_EQ(memory.statistics().cached_bytes, 0U);
}

TEST_F(Allocator, PiecesThatAPoolKeepsJoinAfterIt) {
  void* whole = memory.allocate(8 * kMiB);
  memory.free(whole);
  void* a = memory.allocate(4 * kMiB);
  void* b = memory.allocate(4 * kMiB);
  const auto pool = memory.begin_pool();
  memory.free(a);
  memory.free(b);
  memory.end_pool();
  memory.release_cached();
  EXPECT_EQ(source.held.count(whole), 1U);  // the recording may name it
  memory.drop_pool(pool);
  EXPECT_EQ(memory.allocate(8 * kMiB), whole);
  memory.free(whole);
}

/// Blocks of all sizes, from the shared pool and from private ones, never overlap, and nothing is lost.
TEST_F(Allocator, BlocksNeverOverlap) {
  std::mt19937 random(1);
  std::map<char*, std::size_t> live;
  std::vector<CachingAllocator::Pool> pools;
  bool recording = false;
  for (int step = 0; step < 20000; ++step) {
    const std::uint32_t choice = random() % 1000;
    if (choice < 500) {
      const std::size_t bytes = std::size_t{1} << random() % 24, more = bytes + random() % bytes;
      auto* block = static_cast<char*>(memory.allocate(more));
      const auto next = live.lower_bound(block);
      ASSERT_TRUE(next == live.end() || block + more <= next->first);
      ASSERT_TRUE(next == live.begin() || std::prev(next)->first + std::prev(next)->second <= block);
      live[block] = more;
    } else if (choice < 990 && !live.empty()) {
      const auto block = std::next(live.begin(), static_cast<std::ptrdiff_t>(random() % live.size()));
      memory.free(block->first);
      live.erase(block);
    } else if (choice < 995) {
      if (recording)
        memory.end_pool();
      else
        pools.push_back(memory.begin_pool());
      recording = !recording;
    } else if (choice < 998 && !pools.empty()) {
      if (recording && pools.size() == 1) continue;
      memory.drop_pool(pools.front());
      pools.erase(pools.begin());
    } else {
      memory.release_cached();
    }
    const MemoryStatistics now = memory.statistics();
    ASSERT_EQ(now.live_bytes + now.cached_bytes, source.total);
  }
  if (recording) memory.end_pool();
  for (const auto& [block, bytes] : live) memory.free(block);
  for (const auto pool : pools) memory.drop_pool(pool);
  memory.release_cached();
  EXPECT_EQ(source.total, 0U);
}

TEST_F(Allocator, AnotherThreadIsNotServedFromThePool) {
  void* shared = memory.allocate(1024);
  memory.free(shared);
  const auto pool = memory.begin_pool();
  EXPECT_THROW(memory.begin_pool(), Error);
  std::thread([&] {
    void* block = memory.allocate(1024);
    EXPECT_EQ(block, shared);
    memory.free(block);
  }).join();
  memory.end_pool();
  memory.drop_pool(pool);
}

TEST_F(Allocator, ThreadsTogether) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      std::vector<void*> mine;
      for (std::size_t i = 0; i < 2000; ++i) {
        mine.push_back(memory.allocate((i * 37 + static_cast<std::size_t>(t) * 101) % 5000 + 1));
        if (i % 3 == 0) {
          memory.free(mine.front());
          mine.erase(mine.begin());
        }
      }
      for (void* block : mine) memory.free(block);
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(memory.statistics().live_bytes, 0U);
  EXPECT_EQ(memory.statistics().cached_bytes, source.total);
}

}  // namespace
}  // namespace om
