#include "tensor/opencl/walk.h"

namespace om::opencl {
namespace {

/// Rows at least this long have work items of their own in dimension 0 of the range.
constexpr std::int64_t kLongRow = 48;

}  // namespace

Walk::Walk(const Shape& extent, std::span<const Strides> operands) {
  std::array<std::int64_t, kMaxRank> sizes{};              // innermost first
  std::array<std::array<std::int64_t, kMaxRank>, 3> to{};  // their strides
  std::size_t dimensions = 0;
  for (int d = extent.rank() - 1; d >= 0; --d) {
    if (extent[d] == 1) continue;
    const auto at = static_cast<std::size_t>(d);
    bool joined = dimensions > 0;
    for (std::size_t k = 0; k < operands.size() && joined; ++k)
      joined = operands[k][at] == to[k][dimensions - 1] * sizes[dimensions - 1];
    if (joined) {
      sizes[dimensions - 1] *= extent[d];
      continue;
    }
    sizes[dimensions] = extent[d];
    for (std::size_t k = 0; k < operands.size(); ++k) to[k][dimensions] = operands[k][at];
    ++dimensions;
  }
  if (dimensions == 0) return;
  inner = sizes[0];
  for (std::size_t k = 0; k < operands.size(); ++k) step[k] = to[k][0];
  for (std::size_t d = 1; d < dimensions; ++d) {
    outer *= sizes[d];
    size[d - 1] = sizes[d];
    for (std::size_t k = 0; k < operands.size(); ++k) stride[k][d - 1] = to[k][d];
  }
  rank = static_cast<std::int64_t>(dimensions) - 1;
  flat = inner < kLongRow ? 1 : 0;
}

Range Walk::range(const Device& device) const {
  if (flat != 0) return device.line(inner * outer);
  Range range = device.line(inner);
  range.items[1] = outer;
  return range;
}

Strides broadcast_strides(const Shape& x) {
  Strides strides = x.strides();
  for (int d = 0; d < x.rank(); ++d)
    if (x[d] == 1) strides[static_cast<std::size_t>(d)] = 0;
  return strides;
}

}  // namespace om::opencl
