// From image files to the model and back, and how good the way was.
//
// Images go in as v / 255 * 2 - 1 and come out as clamp(x, -1, 1), (x + 1) / 2, times 255, truncated to 8
// bits; metrics are taken before that truncation.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/image.h"
#include "models/autoencoder.h"
#include "train/metrics.h"

namespace om {

/// Pixels [N, size, size, 3] of 8 bits -> [N, size, size, 3] f32 in [-1, 1], the same bits on every backend.
Tensor to_tensor(std::span<const std::uint8_t> pixels, std::int64_t count, std::int64_t size,
                 Backend& backend);

/// The N images of [N, H, W, 3] in [-1, 1], in [0, 1] after clamping. Waits for the backend.
std::vector<FloatImage> to_float_images(const Tensor& images);
/// The same for one image, [side, side, 3], whose numbers are on the host.
FloatImage to_float_image(std::span<const float> image, std::int64_t side);
FloatImage to_float_image(const Image& image);

/// [0, 1] -> 8 bits, truncated; NaN becomes 0.
Image to_image(const FloatImage& image);

/// While it lives, the networks are in evaluation mode.
class EvaluationMode {
 public:
  explicit EvaluationMode(const Autoencoder& model);
  ~EvaluationMode();
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  std::vector<std::pair<Module*, bool>> before_;  // each network and its mode
};

/// Noise maps to decode a picture with. Where the model predicts none, `predicted` is `random`.
enum class NoiseMaps : std::uint8_t { predicted, random, zero };

/// random: standard normal maps that belong to the seed and the picture's number, on every backend the same
/// and far from the draws of a training run.
struct Decoding {
  NoiseMaps noise = NoiseMaps::predicted;
  std::uint64_t seed = 0;
  std::uint64_t picture = 0;
};

/// Those random maps, [1, s, s, 1] each.
std::vector<Tensor> random_maps(const Decoder& decoder, std::uint64_t seed, std::uint64_t picture,
                                Backend& backend);

/// code -> image with those maps.
Tensor decode(const Autoencoder& model, Code code, const Decoding& decoding);

/// Reconstructions of [N, S, S, 3] in evaluation mode, without recording. Images go through one by one, so a
/// result never depends on its neighbours.
Tensor reconstruct(const Autoencoder& model, const Tensor& images);
/// The same for one image, resized to the model's size.
FloatImage reconstruct(const Autoencoder& model, const Image& image, Backend& backend,
                       const Decoding& decoding = {});

struct ImageScores {
  std::string file;
  std::optional<double> psnr, ssim, ssim_wang;  ///< empty where undefined
};

/// The metrics of a reconstruction against its 8-bit input (of the same size).
ImageScores score(const std::string& file, const Image& input, const FloatImage& output);

/// Means over the images for which a metric is defined; empty where there is none.
ImageScores mean_of(const std::vector<ImageScores>& scores);

/// Images in a contact sheet; more are left out.
inline constexpr std::size_t kMaxSheetImages = 32;

/// One row per pair: input, output and, where asked for, their absolute difference. All images have one size.
Image contact_sheet(const std::vector<Image>& inputs, const std::vector<Image>& outputs, bool difference);

}  // namespace om
