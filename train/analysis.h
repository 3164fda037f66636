// The paper's looks into a model, as numbers: what the noise maps hold (figures 4, 5, 9 to 11) and what the
// latent holds (figures 6, 12, 13). What is drawn of them, io/sheet draws.
//
// All functions run in evaluation mode without recording, and image by image, so that a result never depends
// on its neighbours.
#pragma once

#include <array>
#include <vector>

#include "io/image.h"
#include "models/autoencoder.h"

namespace om {

/// The code of one image [1, S, S, 3], its latent as the synthesis network takes it: W+ [1, L, D], a z having
/// gone through the mapping network. Without noise heads the maps are `noise`.
Code wplus_code(const Autoencoder& model, const Tensor& image, const std::vector<Tensor>& noise);

/// The picture [1, S, S, 3] of such a code.
Tensor picture_of(const Autoencoder& model, const Code& code);

/// A noise map [1, h, w, 1] in [0, 1] by its own smallest and largest value (figure 4); 0 where they are
/// equal.
Tensor normalised_map(const Tensor& map);

/// The code with noise map `map` times `factor` (section 4.2, figure 5).
Code scaled_noise(const Code& code, std::int64_t map, double factor);

/// What an interpolation moves (figure 6): both, the latent alone under one fixed random noise, or the noise
/// maps alone with the left image's latent.
enum class Interpolation : std::uint8_t { both, latent, noise };
inline constexpr std::array kInterpolations = {Interpolation::both, Interpolation::latent,
                                               Interpolation::noise};
const char* name_of(Interpolation kind);

/// The code at t in [0, 1] between two: linear in the latent and in each noise map. `fixed` are the maps of
/// Interpolation::latent.
Code interpolate(const Code& left, const Code& right, double t, Interpolation kind,
                 const std::vector<Tensor>& fixed);

}  // namespace om
