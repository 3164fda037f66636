// Networks of any size on weights that are drawn: what benchmarks run where no file is given. Their numbers
// mean nothing, but are of the size that trained ones have, so that no sum overflows and none is all zeros.
#pragma once

#include <cstdint>
#include <memory>

#include "autograd/random.h"
#include "models/autoencoder.h"
#include "models/lpips.h"

namespace om {

struct MadeModel {
  std::int64_t size = 256;   ///< pixels, a power of two from 8 to 1024
  double width = 1;          ///< times the channels of StyleGAN 2's generator with multiplier 2
  double encoder_width = 1;  ///< times the generator's channels
};

/// StyleGAN 2's generator (channel multiplier 2: 512 up to 64 pixels, then halved at each size) and an
/// encoder into W+. UsageError where there is no such size.
std::unique_ptr<Autoencoder> make_autoencoder(const MadeModel& shape, RandomSource& random, Backend& backend);

/// The decoder with a fresh encoder into W+.
std::unique_ptr<Autoencoder> with_new_encoder(std::unique_ptr<Decoder> decoder, double encoder_width,
                                              RandomSource& random, Backend& backend);

/// LPIPS on VGG16, constant.
std::unique_ptr<Lpips> make_lpips_vgg(RandomSource& random, Backend& backend);

}  // namespace om
