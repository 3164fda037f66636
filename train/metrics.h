// Image quality on the host, in double, independent of any backend.
//
//   PSNR  10 log10(1 / MSE)
//   SSIM  mean over pixels and channels of
//         (2 ma mb + C1)(2 sab + C2) / ((ma^2 + mb^2 + C1)(sa + sb + C2))        C1 = 0.01^2, C2 = 0.03^2
//
// with Gaussian-weighted local means m and (co)variances s, sigma 1.5. Two variants: `ssim` as the paper's
// authors have it (5x5 window, reflecting borders, the map clamped to [0, 1]) and `ssim_wang` (Wang et al.
// 2004, "Image quality assessment": 11x11 window, inside the image only), both per RGB channel.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace om {

/// RGB in [0, 1]: [height, width, 3].
struct FloatImage {
  std::int64_t height = 0, width = 0;
  std::vector<float> pixels;
};

/// Undefined where the images are equal (infinite) or hold a NaN. Error where their sizes differ; so below.
std::optional<double> psnr(const FloatImage& a, const FloatImage& b);

/// Undefined where a side is under 5 pixels, or with a NaN.
std::optional<double> ssim(const FloatImage& a, const FloatImage& b);

/// Undefined where a side is under 11 pixels, or with a NaN.
std::optional<double> ssim_wang(const FloatImage& a, const FloatImage& b);

}  // namespace om
