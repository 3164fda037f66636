// The Fréchet Inception distance (Heusel et al. 2017, "GANs trained by a two time-scale update rule"): the
// distance of two sets of images as that of the normal distributions of their Inception features,
//
//   |ma - mb|^2 + trace(Sa) + trace(Sb) - 2 trace(sqrt(Sa Sb))
//
// The last term is the sum of the singular values of Fa Fb^T for any factors with F^T F = S: no root of a
// product is formed, and of a set with fewer images than features the factor is the centred features
// themselves.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "io/image.h"
#include "models/inception.h"
#include "tensor/linalg.h"

namespace om {

/// Which numbers the network is given: images in [0, 1], as pytorch-fid does, or as the paper's authors do,
/// images in [-1, 1], unclamped, into the same network (which maps [0, 1] to [-1, 1] all the same).
enum class FidVariant : std::uint8_t { pytorch_fid, authors };
const char* name_of(FidVariant variant);  ///< "pytorch-fid", "authors"

/// Below this many images a distance says little: the covariance of 2,048 features has not full rank.
inline constexpr std::int64_t kFewImages = 2048;

/// Mean and covariance of a set's features.
class FeatureStatistics {
 public:
  /// features [images, width], at least two images. Error where one is not finite.
  static FeatureStatistics of_features(std::span<const float> features, std::int64_t width);
  /// InputError where the covariance is not width x width, symmetric and finite.
  static FeatureStatistics of_moments(std::vector<double> mean, Matrix covariance);

  std::int64_t width() const { return static_cast<std::int64_t>(mean_.size()); }
  const std::vector<double>& mean() const { return mean_; }
  Matrix covariance() const { return gram(factor_); }
  /// F with F^T F = covariance; one row per image, or at most one per feature.
  const Matrix& factor() const { return factor_; }

 private:
  FeatureStatistics(std::vector<double> mean, Matrix factor)
      : mean_(std::move(mean)), factor_(std::move(factor)) {}

  std::vector<double> mean_;
  Matrix factor_;
};

/// At least 0. InputError where the widths differ.
double frechet_distance(const FeatureStatistics& a, const FeatureStatistics& b);

/// 8 bits as the network is given them: [1, height, width, 3].
Tensor fid_input(const Image& image, FidVariant variant, Backend& backend);
/// The same of pixels u8 [N, H, W, 3] where they are, to the bit.
Tensor fid_input_of_pixels(const Tensor& pixels, FidVariant variant);
/// Images [N, H, W, 3] in [-1, 1], clamped or not, likewise, where they are: for pytorch-fid what to_image()
/// makes of them (train/evaluate.h), grey first where asked for; for the authors themselves, or their grey
/// before it is clamped.
Tensor fid_input(const Tensor& images, FidVariant variant, bool grey = false);

/// The features [N, width] of a batch, in fp32 whatever the scope: they are compared with features from
/// elsewhere.
Tensor features_of(const Inception& inception, const Tensor& input);
/// Appends the features of [N, H, W, 3], image by image, so that none depends on its neighbours.
void append_features(const Inception& inception, const Tensor& input, std::vector<float>& features);

}  // namespace om
