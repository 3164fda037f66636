#include "train/metrics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <vector>

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

template <std::size_t Window>
std::array<double, Window> gaussian() {
  std::array<double, Window> weights;
  double total = 0;
  for (std::size_t i = 0; i < Window; ++i) {
    const double x = static_cast<double>(i) - Window / 2;
    total += weights[i] = std::exp(-x * x / (2 * sigma * sigma));
  }
  for (double& weight : weights) weight /= total;
  return weights;
}

/// y[c] = sum over k of weights[k] x(k)[c] for c < count, where x(k) is a line of numbers.
template <std::size_t Window, class Line>
void weigh(const std::array<double, Window>& weights, const Line& x, double* __restrict y,
           std::int64_t count) {
  std::array<const double*, Window> lines;
  for (std::size_t k = 0; k < Window; ++k) lines[k] = x(static_cast<std::int64_t>(k));
  for (std::int64_t c = 0; c < count; ++c) {
    double sum = 0;
    for (std::size_t k = 0; k < Window; ++k) sum += weights[k] * lines[k][c];
    y[c] = sum;
  }
}

/// i mirrored into [0, n) without repeating the border.
std::int64_t mirrored(std::int64_t i, std::int64_t n) {
  i = std::abs(i);
  return i < n ? i : 2 * (n - 1) - i;
}

/// What SSIM takes windowed means of, per pixel of a channel: a, b, (a + b)^2 and (a - b)^2, whose sum and
/// difference give the variances' sum and the covariance.
using Planes = std::array<std::vector<double>, 4>;

Planes planes_of(const FloatImage& a, const FloatImage& b, std::size_t channel) {
  Planes planes;
  for (auto& plane : planes) plane.resize(static_cast<std::size_t>(a.height * a.width));
  for (std::size_t i = 0; i < planes[0].size(); ++i) {
    const double va = a.pixels[3 * i + channel], vb = b.pixels[3 * i + channel];
    planes[0][i] = va;
    planes[1][i] = vb;
    planes[2][i] = (va + vb) * (va + vb);
    planes[3][i] = (va - vb) * (va - vb);
  }
  return planes;
}

/// Line by line: the window's weights are a product, so a plane is weighed down its columns, then along the
/// line. The authors mirror the borders and keep the size; else the result shrinks by Window - 1.
template <std::size_t Window, bool authors>
std::optional<double> mean_ssim(const FloatImage& a, const FloatImage& b) {
  expect_same_size(a, b);
  constexpr auto window = static_cast<std::int64_t>(Window);
  if (std::min(a.height, a.width) < window) return std::nullopt;
  const std::array<double, Window> weights = gaussian<Window>();
  constexpr std::int64_t shift = authors ? window / 2 : 0;
  const std::int64_t height = a.height - (authors ? 0 : window - 1),
                     width = a.width - (authors ? 0 : window - 1);
  std::vector<double> line(static_cast<std::size_t>(a.width + 2 * shift));  // with what is mirrored
  Planes means;
  for (auto& mean : means) mean.resize(static_cast<std::size_t>(width));
  double total = 0;
  for (std::size_t channel = 0; channel < 3; ++channel) {
    const Planes planes = planes_of(a, b, channel);
    for (std::int64_t y = 0; y < height; ++y) {
      for (std::size_t q = 0; q < planes.size(); ++q) {
        weigh(
            weights,
            [&](std::int64_t k) { return planes[q].data() + mirrored(y + k - shift, a.height) * a.width; },
            line.data() + shift, a.width);
        for (std::int64_t c = 1; c <= shift; ++c) {
          line[static_cast<std::size_t>(shift - c)] = line[static_cast<std::size_t>(shift + c)];
          line[static_cast<std::size_t>(shift + a.width - 1 + c)] =
              line[static_cast<std::size_t>(shift + a.width - 1 - c)];
        }
        weigh(
            weights, [&](std::int64_t k) { return line.data() + k; }, means[q].data(), width);
      }
      for (std::size_t c = 0; c < static_cast<std::size_t>(width); ++c) {
        const double ma = means[0][c], mb = means[1][c];
        const double variances = (means[2][c] + means[3][c]) / 2 - ma * ma - mb * mb;
        const double covariance = (means[2][c] - means[3][c]) / 4 - ma * mb;
        const double s =
            (2 * ma * mb + c1) * (2 * covariance + c2) / ((ma * ma + mb * mb + c1) * (variances + c2));
        total += authors ? std::clamp(s, 0.0, 1.0) : s;
      }
    }
  }
  return if_finite(total / static_cast<double>(3 * height * width));
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

std::optional<double> ssim(const FloatImage& a, const FloatImage& b) { return mean_ssim<5, true>(a, b); }

std::optional<double> ssim_wang(const FloatImage& a, const FloatImage& b) {
  return mean_ssim<11, false>(a, b);
}

}  // namespace om
