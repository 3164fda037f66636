// Counts the assertions that are made; every test program is compiled with this file included first. A test
// that passes without having asserted anything is blind, and the harness fails it.
//
// GoogleTest tells its listeners of failures alone. But each of its EXPECT_ and ASSERT_ macros begins with
// GTEST_AMBIGUOUS_ELSE_BLOCKER_, a `switch (0) case 0: default:` that keeps a following else apart; here the
// switch counts as well.
#pragma once

#include <gtest/gtest.h>

#include <atomic>

namespace om::harness {

inline std::atomic<long> assertions{0};

inline int count_assertion() {
  assertions.fetch_add(1, std::memory_order_relaxed);
  return 0;
}

}  // namespace om::harness

#undef GTEST_AMBIGUOUS_ELSE_BLOCKER_
#define GTEST_AMBIGUOUS_ELSE_BLOCKER_            \
  switch (::om::harness::count_assertion()) /**/ \
  case 0:                                        \
  default:
