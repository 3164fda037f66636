// The one way that tensor/cpu runs on several threads: independent tiles, handed to om::threads() OpenMP
// threads. A tile is cut by shapes alone and computed by one thread, so results do not depend on how many
// threads there are.
//
// libgomp ends the process where it cannot start a thread, or gets no memory for its own few kilobytes: exit
// code 1 and one line of its own, "libgomp: ...", which nothing can catch. So the whole team is started with
// the backend (cpu_backend.cpp), and a region runs on one thread or on all: from a smaller team libgomp would
// dismiss the others, and start them again at the next region.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>

#include "tensor/registry.h"

namespace om {

/// Calls body(i) for every i in [0, count), in any order. Serial inside another parallel_for. The first
/// exception of a body is thrown again here.
template <class Body>
void parallel_for(std::int64_t count, Body&& body) {
  const int team = count > 1 && !omp_in_parallel() ? threads() : 1;
  if (team <= 1) {
    for (std::int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  std::exception_ptr error;
#pragma omp parallel for schedule(dynamic, 1) num_threads(team)
  for (std::int64_t i = 0; i < count; ++i) {
    try {
      body(i);
    } catch (...) {
#pragma omp critical(onemodel_parallel_for)
      if (!error) error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

/// Cuts [0, count) into tiles of `tile` elements (the last may be shorter) and calls body(begin, end) for
/// each.
template <class Body>
void parallel_tiles(std::int64_t count, std::int64_t tile, Body&& body) {
  parallel_for((count + tile - 1) / tile,
               [&](std::int64_t i) { body(i * tile, std::min(count, (i + 1) * tile)); });
}

}  // namespace om
