#include "train/denoise.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <set>

#include "io/resize.h"
#include "tensor/error.h"
#include "train/evaluate.h"

namespace om {
namespace {

Image picture(int height, int width) {
  Image image(height, width);
  for (std::size_t i = 0; i < image.pixels.size(); ++i)
    image.pixels[i] = static_cast<std::uint8_t>(60 + (i / 3 * 7 + i % 3 * 40) % 130);
  return image;
}

double psnr_of(const ImagePair& pair) {
  return psnr(to_float_image(pair.target), to_float_image(pair.input)).value_or(INFINITY);
}

// Over n draws the mean lies within 4 sigma / sqrt(n), the deviation within 4 sigma / sqrt(2 n).
TEST(DenoiseNoise, HasItsMeanAndDeviation) {
  constexpr std::size_t pictures = 10, each = 1'000'000, n = pictures * each;
  std::vector<double> noise(each);
  double sum = 0, squares = 0;
  for (std::size_t p = 0; p < pictures; ++p) {
    draw_noise(noise, 7, picture_of(static_cast<std::int64_t>(p)));
    for (const double x : noise) {
      sum += x;
      squares += x * x;
    }
  }
  const double mean = sum / n, deviation = std::sqrt(squares / n - mean * mean);
  for (const double sigma : {5.0, 50.0}) {
    EXPECT_LE(std::abs(sigma * mean), 4 * sigma / std::sqrt(n));
    EXPECT_LE(std::abs(sigma * deviation - sigma), 4 * sigma / std::sqrt(2.0 * n));
  }
}

TEST(DenoiseNoise, IsNormal) {
  std::vector<double> noise(1'000'000);
  draw_noise(noise, 1, 2);
  std::sort(noise.begin(), noise.end());
  double largest =
      0;  // distance between the distribution functions (Kolmogorov); 1.95 / sqrt(n) is one in a thousand
  for (std::size_t i = 0; i < noise.size(); ++i) {
    const double below = 0.5 * std::erfc(-noise[i] / std::sqrt(2.0));
    largest = std::max(largest,
                       std::abs(below - (static_cast<double>(i) + 0.5) / static_cast<double>(noise.size())));
  }
  EXPECT_LE(largest, 1.95 / std::sqrt(1e6));
}

TEST(DenoiseNoise, FollowsFromSeedPictureAndPlaceAlone) {
  std::vector<double> whole(1003), part(403), other(1003);
  draw_noise(whole, 3, 4);
  draw_noise(part, 3, 4, 150);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + 600));
  draw_noise(other, 3, 5);
  EXPECT_NE(whole, other);
  draw_noise(other, 4, 4);
  EXPECT_NE(whole, other);
  std::set<double> values(whole.begin(), whole.end());
  EXPECT_EQ(values.size(), whole.size());
  // pictures are told apart by what they hold, and by their shape
  EXPECT_EQ(picture_of(picture(8, 6)), picture_of(picture(8, 6)));
  EXPECT_NE(picture_of(Image(8, 6)), picture_of(Image(6, 8)));
  Image changed = picture(8, 6);
  changed.pixels.back() ^= 1;
  EXPECT_NE(picture_of(changed), picture_of(picture(8, 6)));
  EXPECT_NE(picture_of(std::int64_t{0}), picture_of(std::int64_t{1}));
}

TEST(Denoise, SigmasAreDrawnAlike) {
  std::map<double, int> counts;
  for (std::int64_t p = 0; p < 60'000; ++p) ++counts[draw_sigma(kSigmas, 11, picture_of(p))];
  ASSERT_EQ(counts.size(), kSigmas.size());
  for (const double sigma : kSigmas) EXPECT_NEAR(counts[sigma], 10'000, 5 * 92) << sigma;
  EXPECT_EQ(draw_sigma({12.5}, 0, 0), 12.5);
  EXPECT_THROW(draw_sigma({}, 0, 0), UsageError);
}

TEST(Denoise, NoiseIsRoundedAndClipped) {
  const Image image = picture(70, 50);
  for (const NoiseChannels channels : {NoiseChannels::independent, NoiseChannels::shared}) {
    const bool shared = channels == NoiseChannels::shared;
    const Image noisy = with_noise(image, 25, channels, 5, 6);
    std::vector<double> noise(image.pixels.size() / (shared ? 3 : 1));
    draw_noise(noise, 5, 6);
    for (std::size_t i = 0; i < image.pixels.size(); ++i) {
      const double value = image.pixels[i] + 25 * noise[shared ? i / 3 : i];
      ASSERT_EQ(noisy.pixels[i], std::clamp(std::round(value), 0.0, 255.0)) << i;
    }
  }
  EXPECT_EQ(with_noise(image, 0, NoiseChannels::independent, 5, 6), image);
  const Image black(64, 64);
  const Image noisy = with_noise(black, 25, NoiseChannels::independent, 5, 6);
  const auto zeros = std::count(noisy.pixels.begin(), noisy.pixels.end(), 0);
  EXPECT_NEAR(static_cast<double>(zeros) / static_cast<double>(noisy.pixels.size()), 0.508,
              0.02);  // P(25 n < 0.5)
}

// Pillow: Image.new("RGB", (1, 1), rgb).convert("L").
TEST(Denoise, GreyIsPillows) {
  const auto grey = [](std::uint8_t r, std::uint8_t g, std::uint8_t b) {
    Image image(1, 1);
    image.pixels = {r, g, b};
    const Image out = to_grey(image);
    EXPECT_EQ(out.pixels[0], out.pixels[1]);
    EXPECT_EQ(out.pixels[0], out.pixels[2]);
    return int{out.pixels[0]};
  };
  EXPECT_EQ(grey(255, 0, 0), 76);
  EXPECT_EQ(grey(0, 255, 0), 150);
  EXPECT_EQ(grey(0, 0, 255), 29);
  EXPECT_EQ(grey(1, 2, 3), 2);
  EXPECT_EQ(grey(200, 100, 50), 124);
  for (int v = 0; v < 256; ++v) EXPECT_EQ(grey(v, v, v), v);
}

TEST(Denoise, PairsAtBothResolutions) {
  const Image image = picture(300, 200);
  DenoiseSettings settings;
  settings.at = NoiseAt::model;
  const ImagePair at_model = denoise_pair(image, 25, settings, 32, 1, 2);
  EXPECT_EQ(at_model.target, resize_bilinear(image, 32, 32));
  EXPECT_EQ(at_model.input, with_noise(at_model.target, 25, NoiseChannels::independent, 1, 2));
  EXPECT_NEAR(psnr_of(at_model), 20 * std::log10(255 / 25.0), 0.5);
  settings.at = NoiseAt::file;
  const ImagePair at_file = denoise_pair(image, 25, settings, 32, 1, 2);
  EXPECT_EQ(at_file.target, at_model.target);
  EXPECT_EQ(at_file.input, resize_bilinear(with_noise(image, 25, NoiseChannels::independent, 1, 2), 32, 32));
  EXPECT_GT(psnr_of(at_file), psnr_of(at_model) + 8);  // the resize takes most of it away
  settings.grey = true;
  for (const NoiseAt at : {NoiseAt::file, NoiseAt::model}) {
    settings.at = at;
    const ImagePair grey = denoise_pair(image, 25, settings, 32, 1, 2);
    EXPECT_EQ(grey.target, resize_bilinear(to_grey(image), 32, 32));
    EXPECT_EQ(grey.input, to_grey(grey.input));  // one number a pixel
    EXPECT_NE(grey.input, grey.target);
  }
}

TEST(Denoise, NamesGoBothWays) {
  for (const NoiseAt at : {NoiseAt::file, NoiseAt::model}) EXPECT_EQ(noise_at(name_of(at)), at);
  for (const NoiseChannels channels : {NoiseChannels::independent, NoiseChannels::shared})
    EXPECT_EQ(noise_channels(name_of(channels)), channels);
  EXPECT_THROW(noise_at("disk"), UsageError);
  EXPECT_THROW(noise_channels("rgb"), UsageError);
}

}  // namespace
}  // namespace om
