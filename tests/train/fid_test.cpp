// The Fréchet distance against closed forms, on every way to a factor: fewer images than features, more, and
// mean and covariance alone.
#include "train/fid.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tensor/error.h"
#include "tensor/registry.h"
#include "train/denoise.h"
#include "train/evaluate.h"
#include "train/pixels.h"

namespace om {
namespace {

std::vector<float> features(std::int64_t images, std::int64_t width, double phase, double scale = 1) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < images * width; ++i)
    values.push_back(
        static_cast<float>(scale * std::sin(phase + 1.3 * static_cast<double>((i * i + 7 * i) % 1009))));
  return values;
}

/// Through mean and covariance, as a file has them.
FeatureStatistics through_moments(const FeatureStatistics& s) {
  return FeatureStatistics::of_moments(s.mean(), s.covariance());
}

/// Independent features: the distance is the sum over features of (ma - mb)^2 + (sa - sb)^2.
TEST(Fid, OfIndependentFeaturesIsTheClosedForm) {
  const auto diagonal = [](std::vector<double> mean, const std::vector<double>& deviations) {
    Matrix covariance(3, 3);
    for (std::size_t i = 0; i < 3; ++i) covariance.values[4 * i] = deviations[i] * deviations[i];
    return FeatureStatistics::of_moments(std::move(mean), covariance);
  };
  const double distance = frechet_distance(diagonal({1, 2, 3}, {1, 2, 0}), diagonal({2, 2, 1}, {3, 0.5, 0}));
  EXPECT_NEAR(distance, 1 + 4 + 4 + 2.25, 1e-12);
}

/// The 2x2 closed form: trace sqrt(Sa Sb) = sqrt(trace(Sa Sb) + 2 sqrt(det Sa det Sb)).
TEST(Fid, OfTwoDependentFeaturesIsTheClosedForm) {
  Matrix a(2, 2), b(2, 2);
  a.values = {2, 0.7, 0.7, 1};
  b.values = {0.5, -0.3, -0.3, 1.5};
  const double product = 2 * 0.5 + 2 * 0.7 * -0.3 + 1.5;
  const double shared = std::sqrt(product + 2 * std::sqrt((2 - 0.49) * (0.75 - 0.09)));
  EXPECT_NEAR(
      frechet_distance(FeatureStatistics::of_moments({0, 0}, a), FeatureStatistics::of_moments({3, 4}, b)),
      25 + 3 + 2 - 2 * shared, 1e-12);
}

TEST(Fid, OfASetWithItselfIsZero) {
  for (const std::int64_t images : {5, 40}) {
    const auto set = FeatureStatistics::of_features(features(images, 12, 0.1, 30), 12);
    EXPECT_LT(frechet_distance(set, set), 1e-9) << images;
    EXPECT_LT(frechet_distance(set, through_moments(set)), 1e-6) << images;
  }
}

TEST(Fid, IsTheSameByEveryWay) {
  const auto few = FeatureStatistics::of_features(features(9, 16, 0.2), 16);
  const auto many = FeatureStatistics::of_features(features(70, 16, 0.9, 1.4), 16);
  EXPECT_EQ(few.factor().rows, 9);
  EXPECT_EQ(many.factor().rows, 16);
  const double distance = frechet_distance(few, many);
  EXPECT_GT(distance, 0.1);
  EXPECT_NEAR(frechet_distance(many, few), distance, 1e-12);
  EXPECT_NEAR(frechet_distance(through_moments(few), many), distance, 1e-6);
  EXPECT_NEAR(frechet_distance(few, through_moments(many)), distance, 1e-9);
}

TEST(Fid, CovarianceIsUnbiased) {
  const std::vector<float> values = {1, 10, 3, 20, 8, 60};
  const auto set = FeatureStatistics::of_features(values, 2);
  EXPECT_NEAR(set.mean()[1], 30, 1e-12);
  EXPECT_NEAR(set.covariance().values[0], 13, 1e-12);
  EXPECT_NEAR(set.covariance().values[1], 95, 1e-12);
  EXPECT_NEAR(set.covariance().values[3], 700, 1e-12);
}

TEST(Fid, RefusesWhatCannotBeCompared) {
  const auto three = FeatureStatistics::of_features(features(4, 3, 0), 3);
  EXPECT_THROW(frechet_distance(three, FeatureStatistics::of_features(features(4, 2, 0), 2)), InputError);
  EXPECT_THROW(FeatureStatistics::of_features(features(1, 3, 0), 3), Error);
  std::vector<float> broken = features(4, 3, 0);
  broken[11] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(FeatureStatistics::of_features(broken, 3), Error);
  Matrix skew(2, 2);
  skew.values = {1, 0.5, 0.4, 1};
  EXPECT_THROW(FeatureStatistics::of_moments({0, 0}, skew), InputError);
  EXPECT_THROW(FeatureStatistics::of_moments({0, 0, 0}, skew), InputError);
  skew.values = {1, 0, 0, std::numeric_limits<double>::quiet_NaN()};
  EXPECT_THROW(FeatureStatistics::of_moments({0, 0}, skew), InputError);
}

TEST(Fid, VariantsSeeTheirOwnRange) {
  Image image(1, 2);
  image.at(0, 0, 0) = 255;
  Backend& cpu = backend("cpu");
  EXPECT_EQ(fid_input(image, FidVariant::pytorch_fid, cpu).to_host<float>(),
            (std::vector<float>{1, 0, 0, 0, 0, 0}));
  EXPECT_EQ(fid_input(image, FidVariant::authors, cpu).to_host<float>(),
            (std::vector<float>{1, -1, -1, -1, -1, -1}));
  const Tensor wide = Tensor::from_host(std::vector<float>{3, -3, 0}, {1, 1, 1, 3}, cpu);
  EXPECT_EQ(fid_input(wide, FidVariant::authors).to_host<float>(), (std::vector<float>{3, -3, 0}));
}

// On the device as through the picture that is written: the same bits for every number.
TEST(Fid, ImagesAreSeenAsTheyAreWritten) {
  std::vector<float> values = {3, -3, 0, 1, -1, std::numeric_limits<float>::quiet_NaN()};
  for (int i = 0; i < 3000; ++i) values.push_back(static_cast<float>(std::sin(i * 0.7) * 1.2));
  for (const float v : pixel_values()) values.push_back(v);  // and both sides of each step
  for (const float v : pixel_values()) values.push_back(std::nextafter(v, 2.0F));
  for (const float v : pixel_values()) values.push_back(std::nextafter(v, -2.0F));
  values.resize(values.size() / 30 * 30);
  const auto rows = static_cast<std::int64_t>(values.size() / 30);
  for (const char* name : {"cpu", "reference"}) {
    SCOPED_TRACE(name);
    Backend& device = backend(name);
    const Tensor images = Tensor::from_host(values, {1, rows, 10, 3}, device);
    const Image written = to_image(to_float_images(images).front());
    EXPECT_EQ(fid_input(images, FidVariant::pytorch_fid).to_host<float>(),
              fid_input(written, FidVariant::pytorch_fid, device).to_host<float>());
    const Tensor pixels = Tensor::from_host(written.pixels, images.shape(), device);
    for (const FidVariant variant : {FidVariant::pytorch_fid, FidVariant::authors})
      EXPECT_EQ(fid_input_of_pixels(pixels, variant).to_host<float>(),
                fid_input(written, variant, device).to_host<float>());
    EXPECT_EQ(fid_input(images, FidVariant::pytorch_fid, true).to_host<float>(),
              fid_input(to_grey(written), FidVariant::pytorch_fid, device).to_host<float>());
  }
  const Tensor colours = Tensor::from_host(std::vector<float>{2, 0, -1}, {1, 1, 1, 3}, backend("cpu"));
  for (const float light : fid_input(colours, FidVariant::authors, true).to_host<float>())
    EXPECT_NEAR(light, (2 * 19595.0 - 7471.0) / 65536, 1e-6);
}

}  // namespace
}  // namespace om
