// How much memory this program has at most allocated, C's malloc included, since the meter was made.
//
// AddressSanitizer tells of every allocation; without it the meter stands at 0. Allocations of other threads
// count too, so measure one thing at a time.
#pragma once

#include <cstdint>

namespace om::fuzz {

class MemoryMeter {
 public:
  MemoryMeter();
  ~MemoryMeter();
  MemoryMeter(const MemoryMeter&) = delete;
  MemoryMeter& operator=(const MemoryMeter&) = delete;

  /// False where the build cannot measure.
  static bool works();

  /// The most bytes held at once.
  std::uint64_t peak() const;
};

}  // namespace om::fuzz
