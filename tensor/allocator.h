// A caching allocator over a backend's raw allocate and release, which are slow (cudaMalloc synchronises the
// device, fresh host pages must be cleared). Blocks go back to a free list and serve later requests of about
// their size, the block freed last first (it is the likeliest to be in a processor's cache).
//
// One queue per backend makes immediate reuse safe: a kernel that still reads a freed block runs before the
// kernel that overwrites it. Captured graphs replay on fixed addresses, so what is allocated during a capture
// belongs to the graph's private pool and is not handed to anyone else until that pool is dropped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace om {

/// What a caching allocator draws from: a backend, or a fake in tests.
class MemorySource {
 public:
  virtual ~MemorySource() = default;
  /// At least `bytes` bytes (> 0) at 64-byte alignment. Throws OutOfMemory.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* pointer) = 0;
};

struct MemoryStatistics {
  std::size_t live_bytes = 0;    ///< handed out now
  std::size_t peak_bytes = 0;    ///< largest live_bytes since the last reset_peak()
  std::size_t cached_bytes = 0;  ///< held for reuse, private pools included
  std::size_t raw_allocations = 0;
};

class CachingAllocator {
 public:
  using Pool = std::uint64_t;
  static constexpr Pool kSharedPool = 0;

  explicit CachingAllocator(MemorySource& source) : source_(source) {}
  ~CachingAllocator() { close(); }
  CachingAllocator(const CachingAllocator&) = delete;
  CachingAllocator& operator=(const CachingAllocator&) = delete;

  /// A block of at least `bytes` bytes; a null pointer for 0. When the source has no memory, cached blocks
  /// are released and it is asked once more; then OutOfMemory, with the bytes wanted, live and cached.
  void* allocate(std::size_t bytes);
  void free(void* pointer);

  /// Starts a private pool: until end_pool(), this thread's allocations come from it alone. A shared block
  /// that this thread frees meanwhile may be named in the recording, so the pool keeps it, unused.
  Pool begin_pool();
  void end_pool();
  /// Releases a pool's blocks; those still live follow when they are freed. Shared blocks it kept return.
  void drop_pool(Pool pool);

  /// Gives every cached block of the shared pool back to the source.
  void release_cached();
  /// Bounds what the shared pool caches: beyond it, the blocks unused for longest are released. Unbounded
  /// unless set.
  void limit_cached(std::size_t bytes);
  /// Releases every cached block of every pool. A source that owns its allocator calls this in its own
  /// destructor, while its release() can still be called.
  void close();

  MemoryStatistics statistics() const;
  void reset_peak();

 private:
  struct Block {
    std::size_t bytes;
    Pool pool;
  };
  struct Cached {
    void* pointer;
    std::uint64_t freed;  // when, counted in calls of free()
  };
  using FreeList = std::multimap<std::size_t, Cached>;
  struct PoolState {
    FreeList cached;
    std::vector<std::pair<void*, std::size_t>> kept;  // shared blocks freed while this pool was open
  };

  Pool pool_of_this_thread() const;
  void* take_cached(std::size_t bytes, Pool pool);
  void cache(void* pointer, std::size_t bytes, Pool pool);
  void release_list(FreeList& list);
  void trim();

  MemorySource& source_;
  mutable std::mutex mutex_;
  std::unordered_map<void*, Block> live_;
  std::unordered_map<Pool, PoolState> pools_{{kSharedPool, {}}};
  Pool active_pool_ = kSharedPool;
  std::thread::id active_thread_;
  Pool last_pool_ = kSharedPool;
  std::uint64_t frees_ = 0;
  std::size_t limit_ = SIZE_MAX;
  std::size_t shared_cached_ = 0;
  MemoryStatistics statistics_;
};

}  // namespace om
