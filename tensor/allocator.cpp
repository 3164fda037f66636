#include "tensor/allocator.h"

#include <algorithm>
#include <new>

#include "tensor/error.h"

namespace om {
namespace {

constexpr std::size_t kGranularity = 512;
constexpr std::size_t kLarge = std::size_t{1} << 20;

std::size_t rounded(std::size_t bytes) { return (bytes + kGranularity - 1) / kGranularity * kGranularity; }

/// A cached block may be larger than the request by this much: small blocks by half, large ones by an eighth.
std::size_t largest_fit(std::size_t bytes) { return bytes < kLarge ? bytes + bytes / 2 : bytes + bytes / 8; }

}  // namespace

CachingAllocator::Pool CachingAllocator::pool_of_this_thread() const {
  return active_pool_ != kSharedPool && active_thread_ == std::this_thread::get_id() ? active_pool_
                                                                                     : kSharedPool;
}

void* CachingAllocator::take_cached(std::size_t bytes, Pool pool) {
  FreeList& list = pools_[pool].cached;
  const auto block = list.lower_bound(bytes);
  if (block == list.end() || block->first > largest_fit(bytes)) return nullptr;
  void* pointer = block->second.pointer;
  live_[pointer] = {block->first, pool};
  statistics_.cached_bytes -= block->first;
  if (pool == kSharedPool) shared_cached_ -= block->first;
  statistics_.live_bytes += block->first;
  list.erase(block);
  return pointer;
}

void* CachingAllocator::allocate(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  const std::lock_guard lock(mutex_);
  if (bytes > SIZE_MAX / 2) fail<OutOfMemory>("not enough memory: ", bytes, " bytes wanted");
  const std::size_t wanted = rounded(bytes);
  const Pool pool = pool_of_this_thread();
  void* pointer = take_cached(wanted, pool);
  if (pointer == nullptr) {
    try {
      pointer = source_.allocate(wanted);
    } catch (const OutOfMemory&) {
      release_list(pools_[kSharedPool].cached);
      shared_cached_ = 0;
      try {
        pointer = source_.allocate(wanted);
      } catch (const OutOfMemory& error) {
        fail<OutOfMemory>("not enough memory: ", bytes, " bytes wanted, ", statistics_.live_bytes,
                          " in use, ", statistics_.cached_bytes, " cached (", error.what(), ")");
      }
    }
    try {
      live_[pointer] = {wanted, pool};
    } catch (...) {
      source_.release(pointer);
      throw;
    }
    ++statistics_.raw_allocations;
    statistics_.live_bytes += wanted;
  }
  statistics_.peak_bytes = std::max(statistics_.peak_bytes, statistics_.live_bytes);
  return pointer;
}

void CachingAllocator::free(void* pointer) {
  if (pointer == nullptr) return;
  const std::lock_guard lock(mutex_);
  const auto found = live_.find(pointer);
  if (found == live_.end()) fail("allocator: freed a block that it never handed out");
  const Block block = found->second;
  live_.erase(found);
  statistics_.live_bytes -= block.bytes;
  ++frees_;
  if (pools_.find(block.pool) == pools_.end()) return source_.release(pointer);  // its pool was dropped
  const Pool recording = pool_of_this_thread();
  if (recording != kSharedPool && block.pool != recording && block.pool == kSharedPool) {
    try {
      pools_[recording].kept.emplace_back(pointer, block.bytes);
      statistics_.cached_bytes += block.bytes;
    } catch (const std::bad_alloc&) {  // lost: the recording may name it, so nobody else may have it
    }
    return;
  }
  cache(pointer, block.bytes, block.pool);
}

void CachingAllocator::cache(void* pointer, std::size_t bytes, Pool pool) {
  FreeList& list = pools_[pool].cached;
  try {
    list.emplace_hint(list.lower_bound(bytes), bytes, Cached{pointer, frees_});  // before its equals
  } catch (const std::bad_alloc&) {  // free() runs in destructors, also while an error passes
    return source_.release(pointer);
  }
  statistics_.cached_bytes += bytes;
  if (pool != kSharedPool) return;
  shared_cached_ += bytes;
  trim();
}

void CachingAllocator::trim() {
  FreeList& list = pools_[kSharedPool].cached;
  while (shared_cached_ > limit_) {
    const auto oldest = std::min_element(list.begin(), list.end(), [](const auto& a, const auto& b) {
      return a.second.freed < b.second.freed;
    });
    source_.release(oldest->second.pointer);
    shared_cached_ -= oldest->first;
    statistics_.cached_bytes -= oldest->first;
    list.erase(oldest);
  }
}

CachingAllocator::Pool CachingAllocator::begin_pool() {
  const std::lock_guard lock(mutex_);
  if (active_pool_ != kSharedPool) fail("allocator: a private pool is already open");
  active_pool_ = ++last_pool_;
  active_thread_ = std::this_thread::get_id();
  pools_[active_pool_];
  return active_pool_;
}

void CachingAllocator::end_pool() {
  const std::lock_guard lock(mutex_);
  active_pool_ = kSharedPool;
}

void CachingAllocator::drop_pool(Pool pool) {
  const std::lock_guard lock(mutex_);
  const auto found = pools_.find(pool);
  if (pool == kSharedPool || found == pools_.end()) return;
  if (active_pool_ == pool) active_pool_ = kSharedPool;
  release_list(found->second.cached);
  const auto kept = std::move(found->second.kept);
  pools_.erase(found);
  for (const auto& [pointer, bytes] : kept) {
    statistics_.cached_bytes -= bytes;
    cache(pointer, bytes, kSharedPool);
  }
}

void CachingAllocator::release_cached() {
  const std::lock_guard lock(mutex_);
  release_list(pools_[kSharedPool].cached);
  shared_cached_ = 0;
}

void CachingAllocator::limit_cached(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  limit_ = bytes;
  trim();
}

void CachingAllocator::close() {
  const std::lock_guard lock(mutex_);
  for (auto& [pool, state] : pools_) {
    release_list(state.cached);
    for (const auto& [pointer, bytes] : state.kept) {
      source_.release(pointer);
      statistics_.cached_bytes -= bytes;
    }
    state.kept.clear();
  }
  shared_cached_ = 0;
}

void CachingAllocator::release_list(FreeList& list) {
  for (const auto& [bytes, block] : list) {
    source_.release(block.pointer);
    statistics_.cached_bytes -= bytes;
  }
  list.clear();
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
