// A convolution's rows for the matrix product: row m is one output pixel, and for each tap of the window it
// points to the channels of the input pixel under that tap, or to zeros outside the image.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/backend.h"

namespace om::cpu {

/// One position of the window: its offset from the window's origin, and its number (r kW + s) in the weights.
struct Tap {
  std::int64_t h, w, weight;
};

/// The pixels of a grid [grid_h, grid_w] per image; pixel (a, b) has its window's origin at (origin_h + a
/// step_h, origin_w + b step_w) in the image [N, h, w, channels].
template <class T>
struct ImageRows {
  struct Row {
    const T* image;
    std::int64_t h, w;
  };

  const T* image;
  std::int64_t h, w, channels;
  std::int64_t grid_h, grid_w;
  std::int64_t origin_h, origin_w, step_h, step_w;
  const Tap* taps;
  const T* zeros;  ///< `channels` of them

  Row start(std::int64_t m) const {
    const std::int64_t b = m % grid_w, a = m / grid_w % grid_h, n = m / grid_w / grid_h;
    return {image + n * h * w * channels, origin_h + a * step_h, origin_w + b * step_w};
  }
  const T* at(const Row& row, std::int64_t tap) const {
    const std::int64_t y = row.h + taps[tap].h, x = row.w + taps[tap].w;
    const bool inside = static_cast<std::uint64_t>(y) < static_cast<std::uint64_t>(h) &&
                        static_cast<std::uint64_t>(x) < static_cast<std::uint64_t>(w);
    return inside ? row.image + (y * w + x) * channels : zeros;
  }
};

/// Sizes of conv2d with x [n, h, w, i], weights [o, kh, kw, i], y [n, oh, ow, o].
struct ConvSize {
  ConvSize(const Shape& x, const Shape& weights, const Shape& y, const Conv2dParams& params)
      : n(x[0]),
        h(x[1]),
        w(x[2]),
        i(x[3]),
        o(weights[0]),
        kh(weights[1]),
        kw(weights[2]),
        oh(y[1]),
        ow(y[2]),
        conv(params) {}

  std::int64_t n, h, w, i, o, kh, kw, oh, ow;
  Conv2dParams conv;
};

/// One dimension of a convolution with a stride falls into phases: tap r = phase + j stride meets the pixels
/// first, first + stride, .. of x alone, namely pixel number a (of `count`) with result number a + origin -
/// j.
struct Phase {
  Phase(std::int64_t phase, std::int64_t stride, std::int64_t pad, std::int64_t size)
      : first(((phase - pad) % stride + stride) % stride),
        count(first < size ? (size - first + stride - 1) / stride : 0),
        origin((first + pad - phase) / stride) {}

  std::int64_t first, count, origin;
};

}  // namespace om::cpu
