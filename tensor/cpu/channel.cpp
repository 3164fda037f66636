// ChannelKernels for the cpu: each is one pass over memory. A tile is some rows of pixels of one image; sums
// are taken per tile in double and joined in order, so they depend on the shape alone.
#include <type_traits>
#include <vector>

#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/parallel.h"

namespace om {
namespace {

/// Tiles of about kTileElements elements, all within one image.
struct Tiling {
  static constexpr std::int64_t kTileElements = 32768;

  explicit Tiling(const Shape& shape)
      : images(shape[0]),
        pixels(shape[1] * shape[2]),
        channels(shape[3]),
        tile(std::max<std::int64_t>(1, kTileElements / std::max<std::int64_t>(1, channels))),
        per_image((pixels + tile - 1) / tile) {}

  /// body(index, image, first pixel, last pixel) for every tile.
  template <class Body>
  void for_each(Body&& body) const {
    parallel_for(images * per_image, [&](std::int64_t i) {
      const std::int64_t first = i % per_image * tile;
      body(i, i / per_image, first, std::min(pixels, first + tile));
    });
  }

  std::int64_t images, pixels, channels, tile, per_image;
};

/// The coefficients of one image; `fallback` everywhere where there are none.
template <class T>
class Coefficients {
 public:
  Coefficients(const In& in, std::int64_t channels, T fallback)
      : data_(in.as<T>()), step_(in.data != nullptr && in.shape[0] > 1 ? channels : 0) {
    if (data_ == nullptr) constant_.assign(static_cast<std::size_t>(channels), fallback);
  }
  const T* of(std::int64_t image) const {
    return data_ != nullptr ? data_ + image * step_ : constant_.data();
  }

 private:
  const T* data_;
  std::int64_t step_;
  std::vector<T> constant_;
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
template <class T>
struct Slopes {
  T high, low;
  T at(T u) const { return u > 0 ? high : low; }
};

template <class T>
void activation(const ChannelKernels::Activation& in, Out y) {
  const Tiling tiling(in.x.shape);
  const std::int64_t channels = tiling.channels;
  const Coefficients<T> scale(in.scale, channels, 1), bias(in.bias, channels, 0);
  const Slopes<T> slopes{static_cast<T>(in.gain), static_cast<T>(in.gain * in.slope)};
  const T strength = in.noise.data != nullptr ? *in.strength.as<T>() : T{0};
  const std::int64_t noise_step = in.noise.data != nullptr && in.noise.shape[0] > 1 ? tiling.pixels : 0;
  tiling.for_each([&](std::int64_t, std::int64_t n, std::int64_t first, std::int64_t last) {
    const T *s = scale.of(n), *b = bias.of(n), *noise = at<T>(in.noise, n * noise_step);
    const Slopes<T> own = slopes;
    for (std::int64_t p = first; p < last; ++p) {
      const std::int64_t offset = (n * tiling.pixels + p) * channels;
      const T* x = in.x.as<T>() + offset;
      const T* residual = at<T>(in.residual, offset);
      T* out = y.as<T>() + offset;
      const T shift = noise != nullptr ? strength * noise[p] : T{0};
      if (residual != nullptr) {
#pragma omp simd
        for (std::int64_t c = 0; c < channels; ++c) {
          const T u = x[c] * s[c] + shift + b[c] + residual[c];
          out[c] = u * own.at(u);
        }
      } else {
#pragma omp simd
        for (std::int64_t c = 0; c < channels; ++c) {
          const T u = x[c] * s[c] + shift + b[c];
          out[c] = u * own.at(u);
        }
      }
    }
  });
}

/// Joins the tiles' partial sums [tiles, C] per image into [N, 1, 1, C].
template <class T>
void join(const Tiling& tiling, const std::vector<double>& parts, Out sum) {
  if (sum.data == nullptr) return;
  parallel_for(tiling.images, [&](std::int64_t n) {
    T* out = sum.as<T>() + n * tiling.channels;
    for (std::int64_t c = 0; c < tiling.channels; ++c) {
      double total = 0;
      for (std::int64_t i = n * tiling.per_image; i < (n + 1) * tiling.per_image; ++i)
        total += parts[static_cast<std::size_t>(i * tiling.channels + c)];
      out[c] = static_cast<T>(total);
    }
  });
}

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

/// Adds the pixels [first, last) of all images to both sums. Always both, by the same loop: a sum must not
/// depend on what else is wanted.
template <class T>
void add_gradient_sums(const ChannelKernels::ActivationGradient& in, Slopes<T> slopes, std::int64_t first,
                       std::int64_t last, double* sum_h, double* sum_hx) {
  const std::int64_t channels = in.g.shape[3];
  const T *g = in.g.as<T>(), *y = at<T>(in.y, 0), *x = in.x.data != nullptr ? in.x.as<T>() : g;
  const auto sum = [&](auto slope) {
    sum_pixels(first, last, channels, sum_h, sum_hx,
               [=](std::int64_t p, std::int64_t c, double& a, double& b) {
                 const T h = g[p * channels + c] * slope(p * channels + c);
                 a += static_cast<double>(h);
                 b += static_cast<double>(h) * static_cast<double>(x[p * channels + c]);
               });
  };
  if (y != nullptr)
    sum([=](std::int64_t at) { return slopes.at(y[at]); });
  else
    sum([=](std::int64_t) { return slopes.high; });
}

template <class T>
void activation_grad(const ChannelKernels::ActivationGradient& in) {
  const Tiling tiling(in.g.shape);
  const std::int64_t channels = tiling.channels;
  const Coefficients<T> a(in.a, channels, 1), b(in.b, channels, 0), c_(in.c, channels, 0);
  const Slopes<T> slopes{static_cast<T>(in.gain), static_cast<T>(in.gain * in.slope)};
  const auto room = static_cast<std::size_t>(tiling.images * tiling.per_image * channels);
  const bool sums = in.sum_h.data != nullptr || in.sum_hx.data != nullptr;
  const bool maps = in.h.data != nullptr || in.x_gradient.data != nullptr || in.map.data != nullptr;
  std::vector<double> sums_h(sums ? room : 0), sums_hx(sums ? room : 0);
  tiling.for_each([&](std::int64_t i, std::int64_t n, std::int64_t first, std::int64_t last) {
    if (sums)
      add_gradient_sums<T>(in, slopes, n * tiling.pixels + first, n * tiling.pixels + last,
                           sums_h.data() + i * channels, sums_hx.data() + i * channels);
    if (!maps) return;
    const T *an = a.of(n), *bn = b.of(n), *cn = c_.of(n);
    const Slopes<T> own = slopes;
    thread_local std::vector<T> row;  // h of one pixel
    row.resize(static_cast<std::size_t>(channels));
    for (std::int64_t p = first; p < last; ++p) {
      const std::int64_t offset = (n * tiling.pixels + p) * channels;
      const T *g = in.g.as<T>() + offset, *y = at<T>(in.y, offset), *x = at<T>(in.x, offset);
      T* h = in.h.data != nullptr ? in.h.as<T>() + offset : row.data();
      if (y != nullptr) {
#pragma omp simd
        for (std::int64_t c = 0; c < channels; ++c) h[c] = g[c] * own.at(y[c]);
      } else {
#pragma omp simd
        for (std::int64_t c = 0; c < channels; ++c) h[c] = g[c] * own.high;
      }
      if (T* out = at<T>(in.x_gradient, offset); out != nullptr) {
        if (x != nullptr && in.b.data != nullptr) {
#pragma omp simd
          for (std::int64_t c = 0; c < channels; ++c) out[c] = an[c] * h[c] + bn[c] * x[c] + cn[c];
        } else {
#pragma omp simd
          for (std::int64_t c = 0; c < channels; ++c) out[c] = an[c] * h[c] + cn[c];
        }
      }
      if (in.map.data != nullptr) {
        double total = 0;
#pragma omp simd reduction(+ : total)
        for (std::int64_t c = 0; c < channels; ++c) total += static_cast<double>(h[c]);
        in.map.as<T>()[n * tiling.pixels + p] = static_cast<T>(total);
      }
    }
  });
  join<T>(tiling, sums_h, in.sum_h);
  join<T>(tiling, sums_hx, in.sum_hx);
}

/// Two sums per channel in double, in which the squares of floats are exact. Shifting by the first pixel
/// keeps the difference of the sums accurate where the mean is large beside the deviation.
template <class T>
void moments(In x, Out mean, Out variance) {
  const Tiling tiling(x.shape);
  const std::int64_t channels = tiling.channels;
  const T* shift = x.as<T>();
  const auto room = static_cast<std::size_t>(tiling.images * tiling.per_image * channels);
  std::vector<double> sums(room), squares(room);
  tiling.for_each([&](std::int64_t i, std::int64_t n, std::int64_t first, std::int64_t last) {
    double *sum = sums.data() + i * channels, *square = squares.data() + i * channels;
    const T* image = x.as<T>() + n * tiling.pixels * channels;
    sum_pixels(first, last, channels, sum, square, [=](std::int64_t p, std::int64_t c, double& a, double& b) {
      const double d = static_cast<double>(image[p * channels + c]) - static_cast<double>(shift[c]);
      a += d;
      b += d * d;
    });
  });
  const double count = static_cast<double>(tiling.images * tiling.pixels);
  for (std::int64_t c = 0; c < channels; ++c) {
    double sum = 0, square = 0;
    for (std::int64_t i = 0; i < tiling.images * tiling.per_image; ++i) {
      sum += sums[static_cast<std::size_t>(i * channels + c)];
      square += squares[static_cast<std::size_t>(i * channels + c)];
    }
    const double shifted_mean = sum / count;
    mean.as<T>()[c] = static_cast<T>(static_cast<double>(shift[c]) + shifted_mean);
    variance.as<T>()[c] = static_cast<T>(std::max(0.0, square / count - shifted_mean * shifted_mean));
  }
}

template <class Body>
void in_float_or_double(DType dtype, Body&& body) {
  if (dtype == DType::f64) {
    body(Type<double>{});
  } else {
    body(Type<float>{});
  }
}

}  // namespace

void CpuBackend::channel_activation(const Activation& inputs, Out y) {
  in_float_or_double(y.dtype, [&]<class T>(Type<T>) { activation<T>(inputs, y); });
}

void CpuBackend::channel_activation_grad(const ActivationGradient& arguments) {
  in_float_or_double(arguments.g.dtype, [&]<class T>(Type<T>) { activation_grad<T>(arguments); });
}

void CpuBackend::channel_moments(In x, Out mean, Out variance) {
  in_float_or_double(x.dtype, [&]<class T>(Type<T>) { moments<T>(x, mean, variance); });
}

}  // namespace om
