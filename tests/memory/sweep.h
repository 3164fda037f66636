// Runs one piece of work again and again while memory runs out at another request each time.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "tests/memory/failing_malloc.h"

namespace om::test {

struct Sweep {
  std::function<void()> prepare = [] {};  ///< before each run, with all the memory there is
  /// What the work made, compared with what it makes undisturbed.
  std::function<std::string()> work;
  std::function<void()> check = [] {};  ///< after each run that ended in an error
  int dense = 100;                      ///< the first requests, each of which fails in turn
  int sparse = 40;                      ///< later ones, spread over the rest
  bool aligned = false;                 ///< tensor memory alone
  bool later = false;                   ///< requests count only from the work's call of count_from_here()
};

void count_from_here();

/// Undisturbed, and where malloc finds room at the second place it looks: the work is done, and the same.
/// Then for each request and mode: either the work is done and right, or it throws OutOfMemory or
/// std::bad_alloc; and the cpu backend then holds as much as before. Anything else fails the test
/// (std::terminate ends it).
void sweep(const Sweep& sweep);

}  // namespace om::test
