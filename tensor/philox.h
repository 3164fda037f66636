// Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"
// (SC 2011).
//
// A draw is a pure function of (key, counter), so every backend and every thread count produces the same
// words. Element e of a random tensor takes word e % 4 of block e / 4:
//   key = (seed low, seed high), counter = (block low, block high, draw low, draw high).
// Every function is constexpr, so that CUDA compiles it for the device too.
#pragma once

#include <array>
#include <cstdint>

namespace om::philox {

struct State {
  std::uint64_t seed = 0;
  std::uint64_t draw = 0;  ///< which random tensor of the run this is
};

using Block = std::array<std::uint32_t, 4>;

constexpr Block block(State state, std::uint64_t index) {
  std::uint32_t c0 = static_cast<std::uint32_t>(index), c1 = static_cast<std::uint32_t>(index >> 32);
  std::uint32_t c2 = static_cast<std::uint32_t>(state.draw),
                c3 = static_cast<std::uint32_t>(state.draw >> 32);
  std::uint32_t k0 = static_cast<std::uint32_t>(state.seed),
                k1 = static_cast<std::uint32_t>(state.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53U} * c0;
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57U} * c2;
    c0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<std::uint32_t>(p1);
    c2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<std::uint32_t>(p0);
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  return {c0, c1, c2, c3};
}

/// Uniform in [0, 1): the upper 24 bits, so that every value is exact in float.
constexpr float uniform(std::uint32_t word) { return static_cast<float>(word >> 8) * (1.0F / 16777216.0F); }

/// Box-Muller (1958) turns the two words of a pair into two normals r cos(t), r sin(t), with
/// r = sqrt(-2 ln u), t = 2 pi v. u is in (0, 1], so the logarithm is finite. Computed in double.
constexpr double radius_uniform(std::uint32_t word) {
  return (static_cast<double>(word) + 1.0) / 4294967296.0;
}
constexpr double angle_uniform(std::uint32_t word) { return static_cast<double>(word) / 4294967296.0; }

}  // namespace om::philox
