#include "train/metrics.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "tensor/error.h"

namespace om {
namespace {

constexpr double c1 = 0.01 * 0.01, c2 = 0.03 * 0.03, sigma = 1.5;

void expect_same_size(const FloatImage& a, const FloatImage& b) {
  if (a.height != b.height || a.width != b.width || a.pixels.size() != b.pixels.size() ||
      a.pixels.size() != static_cast<std::size_t>(a.height * a.width * 3))
    fail("metrics: images of ", a.height, "x", a.width, " and ", b.height, "x", b.width);
}

std::optional<double> if_finite(double value) {
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

std::vector<double> gaussian(std::int64_t size) {
  std::vector<double> weights(static_cast<std::size_t>(size));
  double total = 0;
  for (std::int64_t i = 0; i < size; ++i) {
    const double x = static_cast<double>(i - size / 2);
    total += weights[static_cast<std::size_t>(i)] = std::exp(-x * x / (2 * sigma * sigma));
  }
  for (double& weight : weights) weight /= total;
  return weights;
}

/// One quantity per pixel of one channel.
struct Plane {
  std::int64_t height = 0, width = 0;
  std::vector<double> values;

  Plane(std::int64_t rows, std::int64_t columns)
      : height(rows), width(columns), values(static_cast<std::size_t>(rows * columns)) {}
  double& at(std::int64_t y, std::int64_t x) { return values[static_cast<std::size_t>(y * width + x)]; }
  double at(std::int64_t y, std::int64_t x) const { return values[static_cast<std::size_t>(y * width + x)]; }
};

/// i mirrored into [0, n) without repeating the border.
std::int64_t mirrored(std::int64_t i, std::int64_t n) {
  i = std::abs(i);
  return i < n ? i : 2 * (n - 1) - i;
}

/// Filters rows, then columns; with `reflect` the size stays, else it shrinks by window - 1.
Plane blur(const Plane& x, const std::vector<double>& weights, bool reflect) {
  const auto window = static_cast<std::int64_t>(weights.size());
  const std::int64_t shrink = reflect ? 0 : window - 1, shift = reflect ? window / 2 : 0;
  Plane rows(x.height, x.width - shrink), out(x.height - shrink, x.width - shrink);
  for (std::int64_t y = 0; y < rows.height; ++y)
    for (std::int64_t c = 0; c < rows.width; ++c)
      for (std::int64_t k = 0; k < window; ++k)
        rows.at(y, c) += weights[static_cast<std::size_t>(k)] * x.at(y, mirrored(c + k - shift, x.width));
  for (std::int64_t y = 0; y < out.height; ++y)
    for (std::int64_t k = 0; k < window; ++k) {
      const std::int64_t from = mirrored(y + k - shift, x.height);
      for (std::int64_t c = 0; c < out.width; ++c)
        out.at(y, c) += weights[static_cast<std::size_t>(k)] * rows.at(from, c);
    }
  return out;
}

std::optional<double> mean_ssim(const FloatImage& a, const FloatImage& b, std::int64_t window, bool authors) {
  expect_same_size(a, b);
  if (std::min(a.height, a.width) < window) return std::nullopt;
  const std::vector<double> weights = gaussian(window);
  double total = 0;
  std::size_t count = 0;
  for (std::size_t channel = 0; channel < 3; ++channel) {
    Plane pa(a.height, a.width), pb = pa, aa = pa, bb = pa, ab = pa;
    for (std::size_t i = 0; i < pa.values.size(); ++i) {
      const double va = a.pixels[3 * i + channel], vb = b.pixels[3 * i + channel];
      pa.values[i] = va;
      pb.values[i] = vb;
      aa.values[i] = va * va;
      bb.values[i] = vb * vb;
      ab.values[i] = va * vb;
    }
    for (Plane* plane : {&pa, &pb, &aa, &bb, &ab}) *plane = blur(*plane, weights, authors);
    for (std::size_t i = 0; i < pa.values.size(); ++i) {
      const double ma = pa.values[i], mb = pb.values[i];
      const double va = aa.values[i] - ma * ma, vb = bb.values[i] - mb * mb, cov = ab.values[i] - ma * mb;
      const double s = (2 * ma * mb + c1) * (2 * cov + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2));
      total += authors ? std::clamp(s, 0.0, 1.0) : s;
      ++count;
    }
  }
  return if_finite(total / static_cast<double>(count));
}

}  // namespace

std::optional<double> psnr(const FloatImage& a, const FloatImage& b) {
  expect_same_size(a, b);
  double total = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i) {
    const double difference = static_cast<double>(a.pixels[i]) - b.pixels[i];
    total += difference * difference;
  }
  return if_finite(10 * std::log10(static_cast<double>(a.pixels.size()) / total));
}

std::optional<double> ssim(const FloatImage& a, const FloatImage& b) { return mean_ssim(a, b, 5, true); }

std::optional<double> ssim_wang(const FloatImage& a, const FloatImage& b) {
  return mean_ssim(a, b, 11, false);
}

}  // namespace om
