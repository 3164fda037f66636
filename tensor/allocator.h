// A caching allocator over a backend's raw allocate and release, which are slow (cudaMalloc synchronises the
// device, fresh host pages must be cleared). What the source gave is a segment. A freed block goes to a free
// list and serves later requests: a small one of about its size, the block freed last first (it is the
// likeliest to be in a processor's cache); a large one of any size, for a large block is split, and grows
// together again with its free neighbours. So a model whose activations differ in size at every layer needs
// little more than what is alive at once.
//
// One queue per backend makes immediate reuse safe: a kernel that still reads a freed block runs before the
// kernel that overwrites it. Captured graphs replay on fixed addresses, so what is allocated during a capture
// belongs to the graph's private pool and is not handed to anyone else until that pool is dropped.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>

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

  /// A block of at least `bytes` bytes; a null pointer for 0. When the source has no memory, cached segments
  /// are released and it is asked once more; then OutOfMemory, with the bytes wanted, live and cached.
  void* allocate(std::size_t bytes);
  /// Takes no memory itself: destructors call it.
  void free(void* pointer);

  /// Starts a private pool: until end_pool(), this thread's allocations come from it alone. A shared block
  /// that this thread frees meanwhile may be named in the recording, so the pool keeps it, unused.
  Pool begin_pool();
  void end_pool();
  /// Releases a pool's blocks; those still live follow when they are freed. Shared blocks it kept return.
  void drop_pool(Pool pool);

  /// Gives every segment of the shared pool that is wholly free back to the source.
  void release_cached();
  /// The same for every pool. A source that owns its allocator calls this in its own destructor, while its
  /// release() can still be called.
  void close();

  MemoryStatistics statistics() const;
  void reset_peak();

 private:
  /// An entry of a free list: the smallest block that serves comes first, then the one freed last.
  struct FreeBlock {
    std::size_t bytes;
    std::uint64_t age;  // counts down with every free()
    std::byte* start;
    auto operator<=>(const FreeBlock&) const = default;
  };
  using FreeList = std::set<FreeBlock>;

  /// A part of a segment; those of one segment follow each other in blocks_.
  struct Block {
    std::size_t bytes;
    Pool pool;
    bool first;                      // of its segment
    bool live = true;                // handed out
    Pool kept_by = kSharedPool;      // the private pool that keeps this shared block, unused
    std::uint64_t age = 0;           // its entry's
    FreeList::node_type entry = {};  // while the block is in no free list
  };
  using Blocks = std::map<std::byte*, Block>;

  Pool pool_of_this_thread() const;
  Blocks::iterator take_cached(std::size_t bytes, Pool pool);
  Blocks::iterator take_from_source(std::size_t bytes, Pool pool);
  Blocks::iterator cache(Blocks::iterator block);
  Blocks::iterator join(Blocks::iterator left, Blocks::iterator right);
  void unlist(Blocks::iterator block);
  bool is_segment(Blocks::const_iterator block) const;
  void release(Blocks::iterator block);
  void release_segments(Pool pool);
  void return_kept(Pool pool);

  MemorySource& source_;
  mutable std::mutex mutex_;
  Blocks blocks_;
  std::unordered_map<Pool, FreeList> free_{{kSharedPool, {}}};
  Pool active_pool_ = kSharedPool;
  std::thread::id active_thread_;
  Pool last_pool_ = kSharedPool;
  std::uint64_t age_ = UINT64_MAX;
  MemoryStatistics statistics_;
};

}  // namespace om
