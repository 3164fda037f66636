// The one way that tensor/cpu runs on several threads: independent tiles, handed to a team of om::threads()
// (team.h). A tile is cut by shapes alone and computed by one thread, so results do not depend on how many
// threads there are. Regions inside regions run on the thread that meets them; the first exception of a body
// is thrown again where the region was called.
#pragma once

#include <algorithm>
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

/// body(i) for every i in [0, count), handed out in some pieces for each thread: for many short bodies, none
/// of which meets what another one made, so that the cut may depend on the number of threads.
template <class Body>
void parallel_pieces(int threads, std::int64_t count, Body&& body) {
  constexpr std::int64_t kPieces = 8;
  const std::int64_t tile = std::max<std::int64_t>(1, count / (kPieces * threads));
  parallel_for(threads, (count + tile - 1) / tile, [&](std::int64_t piece) {
    for (std::int64_t i = piece * tile; i < std::min(count, (piece + 1) * tile); ++i) body(i);
  });
}

}  // namespace om
