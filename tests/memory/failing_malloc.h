// Memory that runs out on purpose: a shared library that stands before the C library's malloc and its
// relatives, so operator new, tensor memory (posix_memalign), libpng, libjpeg, libzip and zlib all draw from
// it. A test that links it arms it by hand; another program gets it through LD_PRELOAD and is armed by its
// environment.
//
// In a program with CUDA, requests before main always pass: the CUDA runtime's constructors use what they
// asked for without a look (a segmentation fault inside libcudart_static, CUDA 13.0).
#pragma once

#include <cstdint>

extern "C" {

enum FailingMallocMode : int {
  kFailOnce,    ///< the n-th request alone is refused
  kFailOnward,  ///< and every later one
  /// None from the n-th on, but each leaves ENOMEM in errno: malloc does so where one place had no room (a
  /// new arena, the end of the heap) and it found another.
  kMetElsewhere,
};

/// The n-th request from now on (1: the next) is refused, whatever thread makes it. `aligned` counts and
/// refuses aligned requests alone, which are those of the cpu backend. n < 1: only counts.
void failing_malloc_arm(std::int64_t n, FailingMallocMode mode, bool aligned);

/// Ends it; returns the requests counted since it was armed.
std::int64_t failing_malloc_disarm();

/// From now on at most so many threads that start later run at a time, and further ones are not started
/// (EAGAIN); -1: any number.
void limit_threads(std::int64_t most);
}

// The environment of a program that preloads this: ONEMODEL_FAIL_AT and ONEMODEL_FAIL_MODE (a number of the
// enumeration) arm it at the start, ONEMODEL_MOST_THREADS limits the threads beside the first, and
// ONEMODEL_FAIL_COUNT names a file that gets the number of requests at the end.
