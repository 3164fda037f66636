// How kernels walk strided operands beside each other: the host's side of Walk in kernels/common.cl.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "tensor/opencl/device.h"

namespace om::opencl {

/// The same members in the same order as in kernels/common.cl, 64 bits each.
struct Walk {
  std::int64_t inner = 1, outer = 1, flat = 0, rank = 0;
  std::array<std::int64_t, 3> step{};
  std::array<std::int64_t, 7> size{};
  std::array<std::array<std::int64_t, 7>, 3> stride{};

  /// Drops dimensions of size 1, and joins neighbours that every operand walks as one.
  Walk(const Shape& extent, std::span<const Strides> operands);
  /// The work items that it takes; none for an empty extent.
  Range range(const Device& device) const;
};

/// Strides with which an operand whose dimensions equal y's or are 1 is read along y.
Strides broadcast_strides(const Shape& x);

}  // namespace om::opencl
