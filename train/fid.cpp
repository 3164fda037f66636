#include "train/fid.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/grad.h"
#include "autograd/ops.h"

namespace om {
namespace {

/// F with F^T F = covariance, from its spectrum; directions without variance are left out.
Matrix factor_of(const Matrix& covariance) {
  Spectrum spectrum = self_adjoint_spectrum(covariance);
  const auto first = static_cast<std::int64_t>(
      std::find_if(spectrum.values.begin(), spectrum.values.end(), [](double value) { return value > 0; }) -
      spectrum.values.begin());
  Matrix factor(covariance.rows - first, covariance.columns);
  for (std::int64_t i = 0; i < factor.rows; ++i) {
    const double root = std::sqrt(spectrum.values[static_cast<std::size_t>(i + first)]);
    const auto from = spectrum.vectors.row(i + first);
    std::transform(from.begin(), from.end(), factor.row(i).begin(), [=](double v) { return v * root; });
  }
  return factor;
}

}  // namespace

const char* name_of(FidVariant variant) {
  return variant == FidVariant::pytorch_fid ? "pytorch-fid" : "authors";
}

FeatureStatistics FeatureStatistics::of_features(std::span<const float> features, std::int64_t width) {
  const auto columns = static_cast<std::size_t>(width);
  const auto images = static_cast<std::int64_t>(features.size() / columns);
  if (images < 2 || features.size() % columns != 0)
    fail("FID: expects the features of at least two images, got ", features.size(), " numbers for ", width);
  std::vector<double> mean(columns);
  for (std::size_t i = 0; i < features.size(); ++i) mean[i % columns] += features[i];
  for (double& value : mean) value /= static_cast<double>(images);
  Matrix centred(images, width);
  const double scale = 1 / std::sqrt(static_cast<double>(images - 1));
  for (std::size_t i = 0; i < features.size(); ++i) {
    if (!std::isfinite(features[i])) fail("FID: a feature of image ", i / columns, " is not finite");
    centred.values[i] = (features[i] - mean[i % columns]) * scale;
  }
  return {std::move(mean), images <= width ? std::move(centred) : factor_of(gram(centred))};
}

FeatureStatistics FeatureStatistics::of_moments(std::vector<double> mean, Matrix covariance) {
  const auto width = static_cast<std::int64_t>(mean.size());
  if (covariance.rows != width || covariance.columns != width)
    fail<InputError>("FID: a mean of ", width, " features beside a covariance of ", covariance.rows, "x",
                     covariance.columns);
  double largest = 0, asymmetry = 0;
  for (std::int64_t i = 0; i < width; ++i)
    for (std::int64_t j = 0; j < width; ++j) {
      const double a = covariance.row(i)[static_cast<std::size_t>(j)];
      const double b = covariance.row(j)[static_cast<std::size_t>(i)];
      if (!std::isfinite(a)) fail<InputError>("FID: the covariance holds a number that is not finite");
      largest = std::max(largest, std::abs(a));
      asymmetry = std::max(asymmetry, std::abs(a - b));
    }
  for (const double value : mean)
    if (!std::isfinite(value)) fail<InputError>("FID: the mean holds a number that is not finite");
  if (asymmetry > 1e-6 * largest) fail<InputError>("FID: the covariance is not symmetric");
  return {std::move(mean), factor_of(covariance)};
}

double frechet_distance(const FeatureStatistics& a, const FeatureStatistics& b) {
  if (a.width() != b.width()) fail<InputError>("FID: ", a.width(), " features against ", b.width());
  double distance = 0;
  for (std::size_t i = 0; i < a.mean().size(); ++i) distance += std::pow(a.mean()[i] - b.mean()[i], 2);
  for (const auto* set : {&a, &b})
    for (const double value : set->factor().values) distance += value * value;
  const std::vector<double> shared = singular_values(product_transposed(a.factor(), b.factor()));
  return std::max(0.0, distance - 2 * std::accumulate(shared.begin(), shared.end(), 0.0));
}

namespace {

float network_value(std::uint8_t v, FidVariant variant) {
  const double unit = static_cast<double>(v) / 255;
  return static_cast<float>(variant == FidVariant::pytorch_fid ? unit : unit * 2 - 1);
}

/// The same of i32 between 0 and 255, on a device.
Tensor network_values(const Tensor& bytes, FidVariant variant) {
  std::vector<float> table;
  for (int v = 0; v < 256; ++v) table.push_back(network_value(static_cast<std::uint8_t>(v), variant));
  const Tensor values = Tensor::from_host(table, {1, 256}, bytes.backend());
  return reshape(gather(values, reshape(bytes, {1, bytes.elements()})), bytes.shape());
}

/// Pillow's L before it is rounded, [N, H, W, 1]; of whole numbers up to 255 exact in float32.
Tensor luminance(const Tensor& images) {
  const auto channel = [&](std::int64_t c) { return slice(images, 3, c, 1); };
  return channel(0) * 19595 + channel(1) * 38470 + channel(2) * 7471;
}

}  // namespace

Tensor fid_input(const Image& image, FidVariant variant, Backend& backend) {
  std::vector<float> values(image.pixels.size());
  std::transform(image.pixels.begin(), image.pixels.end(), values.begin(),
                 [&](std::uint8_t v) { return network_value(v, variant); });
  return Tensor::from_host(values, {1, image.height, image.width, 3}, backend);
}

Tensor fid_input(const Tensor& images, FidVariant variant, bool grey) {
  if (variant == FidVariant::authors)
    return grey ? broadcast(luminance(images) / 65536, images.shape()) : images;
  Tensor bytes = cast((clamp(images, -1, 1) + 1) / 2 * 255, DType::i32);  // NaN gives 0
  if (grey) {
    const Tensor light = cast((luminance(cast(bytes, DType::f32)) + 32768) / 65536, DType::i32);
    bytes = broadcast(light, images.shape());
  }
  return network_values(bytes, variant);
}

Tensor fid_input_of_pixels(const Tensor& pixels, FidVariant variant) {
  return network_values(cast(pixels, DType::i32), variant);
}

Tensor features_of(const Inception& inception, const Tensor& input) {
  const NoGrad no_grad;
  const PrecisionScope scope(Precision::fp32);
  return inception(input);
}

void append_features(const Inception& inception, const Tensor& input, std::vector<float>& features) {
  for (std::int64_t i = 0; i < input.size(0); ++i) {
    const NoGrad no_grad;
    const std::vector<float> one = features_of(inception, slice(input, 0, i, 1)).to_host<float>();
    features.insert(features.end(), one.begin(), one.end());
  }
}

}  // namespace om
