// Codes: what the generator is fed, a latent and its noise maps, for a number of images; in memory, and in
// files (.safetensors or .npz) that `encode` writes and `generate` reads.
//
// A file holds `wplus` [N, L, D] or `z` [N, D], and `noise.i` [N or 1, 1, h, w] for those maps that are
// given.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "models/autoencoder.h"

namespace om {

/// The latents of N images: z [N, z_width] or wplus [N, L, D], and noise maps [N or 1, s, s, 1] by their
/// place, undefined where not given.
struct Codes {
  Tensor z, wplus;
  std::vector<Tensor> noise;
  std::int64_t count() const { return (z.defined() ? z : wplus).size(0); }
};

/// InputError naming the file and the tensor where one is missing, has the wrong shape or type, or is not
/// finite.
Codes read_codes(const std::string& path, const Decoder& decoder, Backend& backend);

/// The pixels of the images that a file's noise maps, or else its layers of latents, are for; nothing where
/// it does not tell.
std::optional<std::int64_t> size_of_codes(const std::string& path);

/// What such a file holds of `codes`, one per image and all of one kind.
SafeTensors contents_of(const std::vector<Code>& codes, Projection projection);
/// Writes what `codes`, one per image and all of one kind, hold. The latent is named after `projection`.
void write_codes(const std::string& path, const std::vector<Code>& codes, Projection projection);

}  // namespace om
