// Samples of a generator by their seed: what `generate` writes as picture n of a seed, the page of `serve`
// shows under the same seed.
#pragma once

#include <cstdint>
#include <vector>

#include "models/decoder.h"

namespace om {

/// z [count, z_width] of a seed; row n does not depend on how many there are.
Tensor sample_latents(const Decoder& decoder, std::uint64_t seed, std::int64_t count, Backend& backend);

/// Where the noise maps of a seed's samples are drawn from, one picture after the other
/// (Decoder::random_noise): other numbers than the latents'.
RandomSource sample_noise(std::uint64_t seed, Backend& backend);

/// What truncation pulls toward, [D]: the file's, else the mean of w over 4096 z, the same whatever the seed.
Tensor truncation_average(const Decoder& decoder, Backend& backend);

}  // namespace om
