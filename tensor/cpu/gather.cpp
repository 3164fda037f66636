// gather and scatter_add over rows of [N, S].
#include <algorithm>

#include "tensor/cpu/convert.h"
#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/loops.h"
#include "tensor/cpu/parallel.h"
#include "tensor/scratch.h"

namespace om {
namespace {

using namespace cpu;

template <class T>
void gather_typed(In x, In index, Out y) {
  const std::int64_t source = x.shape[1], row = y.shape[1];
  const std::int64_t pieces = (row + kTile - 1) / kTile;
  parallel_for(y.shape[0] * pieces, [&](std::int64_t i) {
    const std::int64_t n = i / pieces, begin = i % pieces * kTile, end = std::min(row, begin + kTile);
    const T* from = x.as<T>() + n * source;
    const auto* at = index.as<std::int32_t>() + n * row;
    T* to = y.as<T>() + n * row;
    for (std::int64_t m = begin; m < end; ++m) to[m] = from[at[m]];
  });
}

/// sums = 0, then the additions of one row whose target lies in [begin, end), in order.
template <class T, class C>
void add_row(const T* x, const std::int32_t* index, std::int64_t count, std::int64_t begin, std::int64_t end,
             C* sums) {
  std::fill(sums + begin, sums + end, C(0));
  for (std::int64_t m = 0; m < count; ++m)
    if (index[m] >= begin && index[m] < end) sums[index[m]] += load(x[m]);
}

}  // namespace

void CpuBackend::gather(In x, In index, Out y) {
  switch (size_of(y.dtype)) {
    case 8: return gather_typed<std::uint64_t>(x, index, y);
    case 4: return gather_typed<std::uint32_t>(x, index, y);
    case 2: return gather_typed<std::uint16_t>(x, index, y);
    default: return gather_typed<std::uint8_t>(x, index, y);
  }
}

void CpuBackend::scatter_add(In x, In index, Out y) {
  const std::int64_t rows = x.shape[0], count = x.shape[1], targets = y.shape[1];
  // Few rows are cut by target: each part reads the whole index and adds what is its own.
  const std::int64_t parts = rows >= 4 || targets < kTile ? 1 : 4;
  const std::int64_t part = (targets + parts - 1) / parts;
  dispatch_floating("scatter_add", x.dtype, [&]<class T>(Type<T>) {
    parallel_for(rows * parts, [&](std::int64_t i) {
      const std::int64_t n = i / parts;
      const std::int64_t begin = std::min(targets, i % parts * part), end = std::min(targets, begin + part);
      const T* from = x.as<T>() + n * count;
      const auto* at = index.as<std::int32_t>() + n * count;
      T* to = y.as<T>() + n * targets;
      if constexpr (std::is_same_v<T, BFloat16>) {
        const Scratch scratch(memory(), static_cast<std::size_t>(targets) * sizeof(float));
        auto* sums = scratch.as<float>();
        add_row(from, at, count, begin, end, sums);
        for (std::int64_t s = begin; s < end; ++s) store(to[s], sums[s]);
      } else {
        add_row(from, at, count, begin, end, to);
      }
    });
  });
}

}  // namespace om
