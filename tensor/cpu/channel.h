// What the fused kernels over images [N, H, W, C] share (tensor/fused.h): tiles, coefficients, sums over
// pixels. A tile is some rows of pixels of one image; sums are taken per tile in double and joined in order,
// so they depend on the shape alone.
#pragma once

#include <algorithm>
#include <limits>
#include <type_traits>
#include <vector>

#include "tensor/cpu/convert.h"
#include "tensor/cpu/parallel.h"
#include "tensor/fused.h"

namespace om::cpu {

/// Tiles of about kTileElements elements, all within one image.
struct Tiling {
  static constexpr std::int64_t kTileElements = 32768;

  explicit Tiling(const Shape& shape)
      : images(shape[0]),
        pixels(shape[1] * shape[2]),
        channels(shape[3]),
        tile(std::max<std::int64_t>(1, kTileElements / std::max<std::int64_t>(1, channels))),
        per_image((pixels + tile - 1) / tile) {}

  std::int64_t tiles() const { return images * per_image; }

  /// body(index, image, first pixel, last pixel) for every tile.
  template <class Body>
  void for_each(Body&& body) const {
    parallel_for(tiles(), [&](std::int64_t i) {
      const std::int64_t first = i % per_image * tile;
      body(i, i / per_image, first, std::min(pixels, first + tile));
    });
  }

  std::int64_t images, pixels, channels, tile, per_image;
};

/// A double per tile and channel.
class TileSums {
 public:
  explicit TileSums(const Tiling& tiling)
      : tiling_(tiling), parts_(static_cast<std::size_t>(tiling.tiles() * tiling.channels)) {}
  double* of(std::int64_t tile) { return parts_.data() + tile * tiling_.channels; }
  /// The sum over the tiles [first, last) of channel c, in order.
  double total(std::int64_t first, std::int64_t last, std::int64_t c) const {
    double total = 0;
    for (std::int64_t i = first; i < last; ++i)
      total += parts_[static_cast<std::size_t>(i * tiling_.channels + c)];
    return total;
  }
  double total(std::int64_t c) const { return total(0, tiling_.tiles(), c); }
  /// The sums over each image, [N, 1, 1, C], where they are wanted.
  template <class C>
  void store(Out sum) const {
    if (sum.data == nullptr) return;
    parallel_for(tiling_.images, [&](std::int64_t n) {
      for (std::int64_t c = 0; c < tiling_.channels; ++c)
        sum.as<C>()[n * tiling_.channels + c] =
            static_cast<C>(total(n * tiling_.per_image, (n + 1) * tiling_.per_image, c));
    });
  }

 private:
  const Tiling& tiling_;
  std::vector<double> parts_;
};

/// The coefficients of one image; `fallback` everywhere where there are none.
template <class C>
class Coefficients {
 public:
  Coefficients(const In& in, std::int64_t channels, C fallback)
      : data_(in.as<C>()), step_(in.data != nullptr && in.shape[0] > 1 ? channels : 0) {
    if (data_ == nullptr) constant_.assign(static_cast<std::size_t>(channels), fallback);
  }
  const C* of(std::int64_t image) const {
    return data_ != nullptr ? data_ + image * step_ : constant_.data();
  }

 private:
  const C* data_;
  std::int64_t step_;
  std::vector<C> constant_;
};

template <class T>
const T* at(const In& in, std::int64_t offset) {
  return in.data == nullptr ? nullptr : in.as<T>() + offset;
}
template <class T>
T* at(const Out& out, std::int64_t offset) {
  return out.data == nullptr ? nullptr : out.as<T>() + offset;
}

/// The activation's slopes at u > 0 and elsewhere. Loops hold their own copy: read through a lambda's
/// reference, the factors would be loaded and branched over for every element, and nothing would vectorise.
template <class C>
struct Slopes {
  Slopes(double slope, double gain)
      : high(static_cast<C>(gain)),
        low(static_cast<C>(gain * slope)),
        floor(slope == 0 ? std::numeric_limits<C>::lowest() : -std::numeric_limits<C>::infinity()) {}
  C high, low, floor;
  C at(C u) const { return u > 0 ? high : low; }
  /// The activation itself: 0 at minus infinity too where the slope is 0.
  C of(C u) const { return (u < floor ? floor : u) * at(u); }
};

/// Adds body(p, c), for double pairs, over the pixels [first, last) to sum_a[c] and sum_b[c]: a few pixels at
/// a time, for a sum would else be loaded and stored for every element.
template <class Body>
void sum_pixels(std::int64_t first, std::int64_t last, std::int64_t channels, double* sum_a, double* sum_b,
                const Body& body) {
  constexpr std::int64_t kPixels = 8;
  const auto add = [&](std::int64_t p, auto pixels) {
    const Body own = body;
#pragma omp simd
    for (std::int64_t c = 0; c < channels; ++c) {
      double a = 0, b = 0;
      for (std::int64_t i = 0; i < pixels; ++i) own(p + i, c, a, b);
      sum_a[c] += a;
      sum_b[c] += b;
    }
  };
  for (; first + kPixels <= last; first += kPixels)
    add(first, std::integral_constant<std::int64_t, kPixels>{});
  for (; first < last; ++first) add(first, std::integral_constant<std::int64_t, 1>{});
}

/// y = gain f(scale x + strength noise + bias + residual) factor.
template <class T>
void activation(const ChannelKernels::Activation& in, Out y);

/// Adds h and h x, with h = g (y > 0 ? gain : gain slope), over the pixels [first, last) of all images to
/// both sums. Always both, by the same loop: a sum must not depend on what else is wanted. Where y is absent
/// every slope is gain; where x is absent sum_hx is of no use.
template <class T>
void add_gradient_sums(In g, In y, In x, Slopes<Computed<T>> slopes, std::int64_t first, std::int64_t last,
                       double* sum_h, double* sum_hx);

}  // namespace om::cpu
