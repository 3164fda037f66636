// The one way that tensor/cpu runs on several threads: independent tiles, handed to a team of om::threads()
// (team.h). A tile is cut by shapes alone and computed by one thread, so results do not depend on how many
// threads there are. Regions inside regions run on the thread that meets them; the first exception of a body
// is thrown again where the region was called.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <type_traits>

#include "tensor/cpu/team.h"
#include "tensor/registry.h"

namespace om {

/// Calls body(i) or body(i, member) for every i in [0, count), in any order, on up to `threads` threads,
/// whose members count from 0: each may have memory of its own.
template <class Body>
void parallel_for(int threads, std::int64_t count, Body&& body) {
  using Plain = std::remove_reference_t<Body>;
  const auto run = [](void* given, std::int64_t i, int member) {
    Plain& plain = *static_cast<Plain*>(given);
    if constexpr (std::is_invocable_v<Plain&, std::int64_t, int>)
      plain(i, member);
    else
      plain(i), static_cast<void>(member);
  };
  cpu::run_on_team({count, threads, run, const_cast<void*>(static_cast<const void*>(&body))});
}

template <class Body>
void parallel_for(std::int64_t count, Body&& body) {
  parallel_for(count > 1 ? threads() : 1, count, body);
}

/// Cuts [0, count) into tiles of `tile` elements (the last may be shorter) and calls body(begin, end) for
/// each.
template <class Body>
void parallel_tiles(std::int64_t count, std::int64_t tile, Body&& body) {
  parallel_for((count + tile - 1) / tile,
               [&](std::int64_t i) { body(i * tile, std::min(count, (i + 1) * tile)); });
}

/// body(i) for every i in [0, count), for many short bodies, none of which meets what another one made, so
/// that the cut may depend on the number of threads. Each member begins with a range of its own, the same one
/// in the same call the next time, when what it read may still be in its caches; then it helps with the
/// others'.
template <class Body>
void parallel_pieces(int threads, std::int64_t count, Body&& body) {
  if (cpu::TeamAtRest::resting) return;
  if (threads <= 1 || count <= 1) {
    for (std::int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  constexpr std::int64_t kMostRanges = 64, kPieces = 8;  // pieces of a range
  struct alignas(64) Range {
    std::atomic<std::int64_t> next;
    std::int64_t end;
  };
  std::array<Range, kMostRanges> ranges;
  const std::int64_t used = std::min<std::int64_t>({threads, kMostRanges, count});
  const std::int64_t piece = std::max<std::int64_t>(1, count / (kPieces * used));
  for (std::int64_t r = 0; r < used; ++r) {
    Range& range = ranges[static_cast<std::size_t>(r)];
    range.next.store(r * count / used, std::memory_order_relaxed);
    range.end = (r + 1) * count / used;
  }
  parallel_for(threads, used, [&](std::int64_t, int member) {
    for (std::int64_t r = member; r < member + used; ++r) {
      Range& range = ranges[static_cast<std::size_t>(r % used)];
      for (;;) {
        const std::int64_t from = range.next.fetch_add(piece, std::memory_order_relaxed);
        if (from >= range.end) break;
        for (std::int64_t i = from; i < std::min(range.end, from + piece); ++i) body(i);
      }
    }
  });
}

}  // namespace om
