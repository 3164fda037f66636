#include "tensor/allocator.h"

#include <algorithm>
#include <iterator>

#include "tensor/error.h"

namespace om {
namespace {

constexpr std::size_t kGranularity = 512;
constexpr std::size_t kLarge = std::size_t{1} << 20;  // blocks from here on are split

std::size_t rounded(std::size_t bytes) { return (bytes + kGranularity - 1) / kGranularity * kGranularity; }

/// A cached block of this many bytes may serve the request.
bool fits(std::size_t block, std::size_t bytes) { return bytes >= kLarge || block <= bytes + bytes / 2; }

}  // namespace

CachingAllocator::Pool CachingAllocator::pool_of_this_thread() const {
  return active_pool_ != kSharedPool && active_thread_ == std::this_thread::get_id() ? active_pool_
                                                                                     : kSharedPool;
}

void* CachingAllocator::allocate(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  const std::lock_guard lock(mutex_);
  if (bytes > SIZE_MAX / 2) fail<OutOfMemory>("not enough memory: ", bytes, " bytes wanted");
  const Pool pool = pool_of_this_thread();
  Blocks::iterator block = take_cached(rounded(bytes), pool);
  if (block == blocks_.end()) {
    try {
      block = take_from_source(rounded(bytes), pool);
    } catch (const OutOfMemory&) {
      release_segments(kSharedPool);
      try {
        block = take_from_source(rounded(bytes), pool);
      } catch (const OutOfMemory& error) {
        fail<OutOfMemory>("not enough memory: ", bytes, " bytes wanted, ", statistics_.live_bytes,
                          " in use, ", statistics_.cached_bytes, " cached (", error.what(), ")");
      }
    }
  }
  statistics_.live_bytes += block->second.bytes;
  statistics_.peak_bytes = std::max(statistics_.peak_bytes, statistics_.live_bytes);
  return block->first;
}

/// blocks_.end() where no cached block serves.
CachingAllocator::Blocks::iterator CachingAllocator::take_cached(std::size_t bytes, Pool pool) {
  FreeList& list = free_.at(pool);
  const auto found = list.lower_bound({bytes, 0, nullptr});
  if (found == list.end() || !fits(found->bytes, bytes)) return blocks_.end();
  const auto block = blocks_.find(found->start);
  const std::size_t rest = found->bytes - bytes;
  if (bytes >= kLarge && rest >= kLarge) {
    std::byte* start = found->start + bytes;
    FreeList entry{{rest, found->age, start}};
    blocks_.emplace_hint(std::next(block), start, Block{rest, pool, false, false, kSharedPool, found->age});
    list.merge(entry);
    block->second.bytes = bytes;
  }
  block->second.live = true;
  block->second.entry = list.extract(found);
  statistics_.cached_bytes -= block->second.bytes;
  return block;
}

/// A fresh segment.
CachingAllocator::Blocks::iterator CachingAllocator::take_from_source(std::size_t bytes, Pool pool) {
  Blocks fresh;  // made first: nothing may throw once the source has given
  FreeList entry{{bytes, 0, nullptr}};
  fresh.emplace(nullptr, Block{bytes, pool, true, true, kSharedPool, 0, entry.extract(entry.begin())});
  auto node = fresh.extract(fresh.begin());
  node.key() = static_cast<std::byte*>(source_.allocate(bytes));
  ++statistics_.raw_allocations;
  return blocks_.insert(std::move(node)).position;
}

void CachingAllocator::free(void* pointer) {
  if (pointer == nullptr) return;
  const std::lock_guard lock(mutex_);
  const auto block = blocks_.find(static_cast<std::byte*>(pointer));
  if (block == blocks_.end() || !block->second.live)
    fail("allocator: freed a block that it never handed out");
  block->second.live = false;
  statistics_.live_bytes -= block->second.bytes;
  statistics_.cached_bytes += block->second.bytes;
  const Pool recording = pool_of_this_thread();
  if (recording != kSharedPool && block->second.pool == kSharedPool)
    block->second.kept_by = recording;
  else
    cache(block);
}

/// Lists a block that is free, joined with its free neighbours.
CachingAllocator::Blocks::iterator CachingAllocator::cache(Blocks::iterator block) {
  const auto joins = [](const Block& other) { return !other.live && other.kept_by == kSharedPool; };
  block->second.kept_by = kSharedPool;
  const auto right = std::next(block);
  if (right != blocks_.end() && !right->second.first && joins(right->second)) block = join(block, right);
  if (!block->second.first && joins(std::prev(block)->second)) block = join(std::prev(block), block);

  const auto list = free_.find(block->second.pool);
  if (list != free_.end()) {
    block->second.age = --age_;
    block->second.entry.value() = {block->second.bytes, block->second.age, block->first};
    list->second.insert(std::move(block->second.entry));
  } else if (is_segment(block)) {  // of a pool that was dropped
    release(block);
    return blocks_.end();
  }
  return block;
}

/// Two free neighbours become one, which is not listed.
CachingAllocator::Blocks::iterator CachingAllocator::join(Blocks::iterator left, Blocks::iterator right) {
  unlist(left);
  unlist(right);
  left->second.bytes += right->second.bytes;
  blocks_.erase(right);
  return left;
}

void CachingAllocator::unlist(Blocks::iterator block) {
  Block& b = block->second;
  if (b.entry.empty()) b.entry = free_.at(b.pool).extract({b.bytes, b.age, block->first});
}

bool CachingAllocator::is_segment(Blocks::const_iterator block) const {
  const auto next = std::next(block);
  return block->second.first && (next == blocks_.end() || next->second.first);
}

/// Gives a segment that is one free block back to the source.
void CachingAllocator::release(Blocks::iterator block) {
  unlist(block);
  source_.release(block->first);
  statistics_.cached_bytes -= block->second.bytes;
  blocks_.erase(block);
}

void CachingAllocator::release_segments(Pool pool) {
  for (auto block = blocks_.begin(); block != blocks_.end();) {
    const auto next = std::next(block);
    const Block& b = block->second;
    if (b.pool == pool && !b.live && b.kept_by == kSharedPool && is_segment(block)) release(block);
    block = next;
  }
}

void CachingAllocator::return_kept(Pool pool) {
  for (auto block = blocks_.begin(); block != blocks_.end(); ++block)
    if (block->second.kept_by == pool) block = cache(block);
}

CachingAllocator::Pool CachingAllocator::begin_pool() {
  const std::lock_guard lock(mutex_);
  if (active_pool_ != kSharedPool) fail("allocator: a private pool is already open");
  free_[++last_pool_];
  active_pool_ = last_pool_;
  active_thread_ = std::this_thread::get_id();
  return active_pool_;
}

void CachingAllocator::end_pool() {
  const std::lock_guard lock(mutex_);
  active_pool_ = kSharedPool;
}

void CachingAllocator::drop_pool(Pool pool) {
  const std::lock_guard lock(mutex_);
  if (pool == kSharedPool || free_.find(pool) == free_.end()) return;
  if (active_pool_ == pool) active_pool_ = kSharedPool;
  release_segments(pool);
  for (auto block = blocks_.begin(); block != blocks_.end(); ++block)
    if (block->second.pool == pool) unlist(block);
  free_.erase(pool);
  return_kept(pool);
}

void CachingAllocator::release_cached() {
  const std::lock_guard lock(mutex_);
  release_segments(kSharedPool);
}

void CachingAllocator::close() {
  const std::lock_guard lock(mutex_);
  for (const auto& [pool, list] : free_) {
    if (pool != kSharedPool) return_kept(pool);
    release_segments(pool);
  }
}

MemoryStatistics CachingAllocator::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

void CachingAllocator::reset_peak() {
  const std::lock_guard lock(mutex_);
  statistics_.peak_bytes = statistics_.live_bytes;
}

}  // namespace om
