// PSNR and SSIM against a numpy script that forms every window densely (tests/train/metrics_reference.py).
#include "train/metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/error.h"
#include "train/evaluate.h"

namespace om {
namespace {

constexpr std::int64_t height = 13, width = 16;

FloatImage first(std::int64_t rows = height, std::int64_t columns = width) {
  FloatImage image{rows, columns, {}};
  for (std::int64_t y = 0; y < rows; ++y)
    for (std::int64_t x = 0; x < columns; ++x)
      for (std::int64_t c = 0; c < 3; ++c)
        image.pixels.push_back(
            static_cast<float>(static_cast<double>((y * 31 + x * 17 + c * 7) % 53) / 52.0));
  return image;
}

FloatImage second(std::int64_t rows = height, std::int64_t columns = width) {
  FloatImage image = first(rows, columns);
  std::size_t i = 0;
  for (std::int64_t y = 0; y < rows; ++y)
    for (std::int64_t x = 0; x < columns; ++x)
      for (std::int64_t c = 0; c < 3; ++c, ++i) {
        const double other = static_cast<double>((y * 13 + x * 29 + c * 5) % 41) / 40.0;
        const double value = static_cast<double>(image.pixels[i]) * 0.8 + other * 0.3 - 0.05;
        image.pixels[i] = static_cast<float>(std::clamp(value, 0.0, 1.0));
      }
  return image;
}

FloatImage negative(std::int64_t rows = height, std::int64_t columns = width) {
  FloatImage image = first(rows, columns);
  for (float& value : image.pixels) value = 1 - value;
  return image;
}

TEST(Metrics, AreNumpys) {
  EXPECT_NEAR(*psnr(first(), second()), 19.496011804346914, 1e-6);
  EXPECT_NEAR(*ssim(first(), second()), 0.9217526969652656, 1e-7);
  EXPECT_NEAR(*ssim_wang(first(), second()), 0.9215154343933591, 1e-7);
}

/// The definition: every window formed densely, variances about its own mean.
double direct_ssim(const FloatImage& a, const FloatImage& b, std::int64_t window, bool authors) {
  const std::int64_t shift = authors ? window / 2 : 0, shrink = authors ? 0 : window - 1;
  const auto mirrored = [](std::int64_t i, std::int64_t n) {
    return i < 0 ? -i : i < n ? i : 2 * (n - 1) - i;
  };
  double sum = 0, count = 0;
  for (std::int64_t y = 0; y < a.height - shrink; ++y)
    for (std::int64_t x = 0; x < a.width - shrink; ++x)
      for (std::int64_t channel = 0; channel < 3; ++channel) {
        double all = 0, ma = 0, mb = 0, va = 0, vb = 0, cov = 0;
        const auto visit = [&](auto&& body) {
          for (std::int64_t r = 0; r < window; ++r)
            for (std::int64_t s = 0; s < window; ++s) {
              const double dr = static_cast<double>(r - window / 2), ds = static_cast<double>(s - window / 2);
              const auto at = static_cast<std::size_t>(
                  3 * (mirrored(y + r - shift, a.height) * a.width + mirrored(x + s - shift, a.width)) +
                  channel);
              body(std::exp(-(dr * dr + ds * ds) / 4.5), static_cast<double>(a.pixels[at]),
                   static_cast<double>(b.pixels[at]));
            }
        };
        visit([&](double w, double p, double q) { all += w, ma += w * p, mb += w * q; });
        ma /= all, mb /= all;
        visit([&](double w, double p, double q) {
          va += w / all * (p - ma) * (p - ma), vb += w / all * (q - mb) * (q - mb);
          cov += w / all * (p - ma) * (q - mb);
        });
        const double s =
            (2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma * ma + mb * mb + 1e-4) * (va + vb + 9e-4));
        sum += authors ? std::clamp(s, 0.0, 1.0) : s;
        ++count;
      }
  return sum / count;
}

TEST(Metrics, AreTheDirectForms) {
  for (const auto& [rows, columns] : {std::pair(13, 16), {11, 11}, {12, 40}, {33, 17}, {29, 64}, {64, 27}}) {
    SCOPED_TRACE(text(rows, " x ", columns));
    FloatImage a = first(rows, columns), b = a;
    for (std::size_t i = 0; i < b.pixels.size(); ++i)
      b.pixels[i] = 0.7F * b.pixels[i] + static_cast<float>(i * i % 101) / 400;
    for (const FloatImage& other : {a, b}) {
      EXPECT_NEAR(*ssim(a, other), direct_ssim(a, other, 5, true), 1e-12);
      EXPECT_NEAR(*ssim_wang(a, other), direct_ssim(a, other, 11, false), 1e-12);
    }
  }
}

/// structural_similarity of scikit-image with Wang's settings (tests/train/metrics_skimage.py).
TEST(Metrics, WangsSsimIsScikitImages) {
  EXPECT_NEAR(*ssim_wang(first(), second()), 0.9215154320045135, 1e-8);
  EXPECT_NEAR(*ssim_wang(first(), negative()), -0.9883896920751503, 1e-8);
  EXPECT_NEAR(*ssim_wang(first(40, 33), second(40, 33)), 0.9225870066239831, 1e-8);
  EXPECT_NEAR(*ssim_wang(first(40, 33), negative(40, 33)), -0.9884554883642673, 1e-8);
}

TEST(Metrics, OnlyTheAuthorsClampTheMap) {
  EXPECT_NEAR(*psnr(first(), negative()), 4.598038532842025, 1e-6);
  EXPECT_EQ(*ssim(first(), negative()), 0);
  EXPECT_NEAR(*ssim_wang(first(), negative()), -0.9883896919705507, 1e-6);
}

TEST(Metrics, OfEqualImages) {
  EXPECT_FALSE(psnr(first(), first()).has_value());
  EXPECT_NEAR(*ssim(first(), first()), 1, 1e-12);
  EXPECT_NEAR(*ssim_wang(first(), first()), 1, 1e-12);
}

TEST(Metrics, AreUndefinedWhereTheWindowDoesNotFitOrANumberIsNone) {
  EXPECT_TRUE(ssim(first(5, 5), first(5, 5)).has_value());
  EXPECT_FALSE(ssim(first(4, 9), first(4, 9)).has_value());
  EXPECT_TRUE(ssim_wang(first(11, 11), first(11, 11)).has_value());
  EXPECT_FALSE(ssim_wang(first(10, 30), first(10, 30)).has_value());
  FloatImage broken = second();
  broken.pixels[40] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(psnr(first(), broken).has_value());
  EXPECT_FALSE(ssim(first(), broken).has_value());
  EXPECT_FALSE(ssim_wang(first(), broken).has_value());
  EXPECT_THROW(psnr(first(5, 6), first(6, 5)), Error);
}

TEST(Metrics, AreAveragedOverTheImagesThatHaveThem) {
  const ImageScores mean = mean_of({{"a", 10.0, 0.5, std::nullopt}, {"b", std::nullopt, 0.7, std::nullopt}});
  EXPECT_DOUBLE_EQ(*mean.psnr, 10);
  EXPECT_DOUBLE_EQ(*mean.ssim, 0.6);
  EXPECT_FALSE(mean.ssim_wang.has_value());
}

TEST(Sheet, HasInputOutputAndDifference) {
  Image a(2, 3), b(2, 3);
  a.at(1, 2, 0) = 200;
  b.at(1, 2, 0) = 50;
  b.at(0, 0, 2) = 9;
  const Image sheet = contact_sheet({a, b}, {b, a}, true);
  EXPECT_EQ(sheet.height, 4);
  EXPECT_EQ(sheet.width, 9);
  EXPECT_EQ(sheet.at(1, 2, 0), 200);
  EXPECT_EQ(sheet.at(1, 5, 0), 50);
  EXPECT_EQ(sheet.at(1, 8, 0), 150);
  EXPECT_EQ(sheet.at(2, 6, 2), 9);
  EXPECT_EQ(contact_sheet(std::vector<Image>(40, a), std::vector<Image>(40, b), false).height, 64);
}

TEST(Images, LeaveTruncated) {
  FloatImage image{1, 2, {0.0F, 1.0F, 0.5F, 2.0F, -1.0F, std::numeric_limits<float>::quiet_NaN()}};
  EXPECT_EQ(to_image(image).pixels, (std::vector<std::uint8_t>{0, 255, 127, 255, 0, 0}));
}

}  // namespace
}  // namespace om
