// random: words, uniforms and normals from Philox (tensor/philox.h), four elements a block.
#include <cmath>
#include <numbers>

#include "tensor/cpu/convert.h"
#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/loops.h"
#include "tensor/cpu/parallel.h"
#include "tensor/philox.h"

namespace om {
namespace {

using namespace cpu;

/// Writes `values`(block of words) to every block of y; the last block may be cut short.
template <class T, class Values>
void fill_blocks(T* y, std::int64_t elements, philox::State state, Values values) {
  static_assert(kTile % 16 == 0);
  parallel_tiles(elements, kTile / 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; i += 4) {
      T four[4];
      values(philox::block(state, static_cast<std::uint64_t>(i) / 4), four);
      for (std::int64_t k = 0; k < std::min<std::int64_t>(4, end - i); ++k) y[i + k] = four[k];
    }
  });
}

template <class T>
void normals(const philox::Block& words, T* four) {
  for (std::size_t pair = 0; pair < 4; pair += 2) {
    const double radius = std::sqrt(-2 * std::log(philox::radius_uniform(words[pair])));
    const double angle = 2 * std::numbers::pi * philox::angle_uniform(words[pair + 1]);
    convert(radius * std::cos(angle), four[pair]);
    convert(radius * std::sin(angle), four[pair + 1]);
  }
}

}  // namespace

void CpuBackend::random(Out y, Distribution distribution, In state) {
  const auto* words = state.as<std::uint32_t>();
  const philox::State from{words[0] | std::uint64_t{words[1]} << 32,
                           words[2] | std::uint64_t{words[3]} << 32};
  const std::int64_t elements = y.shape.elements();
  if (distribution == Distribution::bits)
    return fill_blocks(
        y.as<std::uint32_t>(), elements, from,
        [](const philox::Block& block, std::uint32_t* four) { std::copy(block.begin(), block.end(), four); });
  dispatch_floating("random", y.dtype, [&]<class T>(Type<T>) {
    if (distribution == Distribution::normal) return fill_blocks(y.as<T>(), elements, from, normals<T>);
    fill_blocks(y.as<T>(), elements, from, [](const philox::Block& block, T* four) {
      for (std::size_t k = 0; k < 4; ++k) convert(philox::uniform(block[k]), four[k]);
    });
  });
}

}  // namespace om
