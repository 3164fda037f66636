// Resampling: with a short FIR filter, as StyleGAN does it ([1, 3, 3, 1] in each direction), and to any size.
#pragma once

#include "tensor/tensor.h"

namespace om {

/// The outer product of `taps` with itself, normalised to sum 1, times gain: [k, k].
Tensor fir_filter(const std::vector<double>& taps, double gain, DType dtype, Backend& backend);

/// x [N, H, W, C] -> [N, 2H, 2W, C]: zero insertion, then the filter (its gain should be 4) with padding (2,
/// 1) for 4 taps.
Tensor upsample2(const Tensor& x, const Tensor& filter);

/// The filter alone, with `before` zeros on top and left and `after` on bottom and right.
Tensor blur(const Tensor& x, const Tensor& filter, std::int64_t before, std::int64_t after);

/// x [N, H, W, C] -> [N, height, width, C] by bilinear interpolation between pixel centres (PyTorch's
/// interpolate without align_corners or antialias): two products with interpolation matrices.
Tensor resize_linear(const Tensor& x, std::int64_t height, std::int64_t width);

/// The mean over the 3x3 neighbourhood of each pixel, as far as it lies inside the image: [N, H, W, C].
Tensor average_pool3(const Tensor& x);

}  // namespace om
