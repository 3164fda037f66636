// BatchNormKernels for the cpu: a pass for the statistics and one for the result; in the gradient a pass for
// the sums and one for the image.
#include <cmath>

#include "tensor/cpu/channel.h"
#include "tensor/cpu/cpu_backend.h"

namespace om {
namespace cpu {
namespace {

/// Two sums per channel in double, in which the squares of floats are exact. Shifting by the first pixel
/// keeps the difference of the sums accurate where the mean is large beside the deviation.
template <class T>
void moments(In x, Out mean, Out variance) {
  using C = Computed<T>;
  const Tiling tiling(x.shape);
  const std::int64_t channels = tiling.channels;
  const T* shift = x.as<T>();
  TileSums sums(tiling), squares(tiling);
  tiling.for_each([&](std::int64_t i, std::int64_t n, std::int64_t first, std::int64_t last) {
    const T* image = x.as<T>() + n * tiling.pixels * channels;
    sum_pixels(first, last, channels, sums.of(i), squares.of(i),
               [=](std::int64_t p, std::int64_t c, double& a, double& b) {
                 const double d =
                     static_cast<double>(load(image[p * channels + c])) - static_cast<double>(load(shift[c]));
                 a += d;
                 b += d * d;
               });
  });
  const double count = static_cast<double>(tiling.images * tiling.pixels);
  for (std::int64_t c = 0; c < channels; ++c) {
    const double shifted_mean = sums.total(c) / count;
    mean.as<C>()[c] = static_cast<C>(static_cast<double>(load(shift[c])) + shifted_mean);
    variance.as<C>()[c] =
        static_cast<C>(std::max(0.0, squares.total(c) / count - shifted_mean * shifted_mean));
  }
}

template <class C>
In coefficients(const std::vector<C>& values) {
  return {values.data(), dtype_of<C>, {1, 1, 1, static_cast<std::int64_t>(values.size())}};
}

template <class T>
void batch_norm(const BatchNormKernels::Norm& in) {
  using C = Computed<T>;
  moments<T>(in.x, in.mean, in.variance);
  const auto channels = static_cast<std::size_t>(in.x.shape[3]);
  std::vector<C> scale(channels), shift(channels);
  for (std::size_t c = 0; c < channels; ++c) {
    const C r = 1 / std::sqrt(in.variance.as<C>()[c] + static_cast<C>(in.eps));
    in.r.as<C>()[c] = r;
    scale[c] = in.weight.as<C>()[c] * r;
    shift[c] = in.bias.as<C>()[c] - in.mean.as<C>()[c] * scale[c];
  }
  activation<T>({.x = in.x,
                 .scale = coefficients(scale),
                 .bias = coefficients(shift),
                 .noise = {},
                 .strength = {},
                 .residual = in.residual,
                 .factor = {},
                 .slope = in.slope},
                in.y);
}

/// h, and a h + b x + c, over the pixels [first, last) of all images.
template <class T, class C>
void gradient_rows(const BatchNormKernels::NormGradient& in, std::int64_t first, std::int64_t last,
                   const C* a, const C* b, const C* c_) {
  const std::int64_t channels = in.g.shape[3];
  const Slopes<C> own(in.slope, 1);
  thread_local std::vector<C> room;
  room.resize(static_cast<std::size_t>(channels));
  for (std::int64_t p = first; p < last; ++p) {
    const std::int64_t offset = p * channels;
    const T *g = in.g.as<T>() + offset, *y = at<T>(in.y, offset), *x = in.x.as<T>() + offset;
    C* h = room.data();
    if constexpr (std::is_same_v<T, C>)
      if (in.h.data != nullptr) h = in.h.as<T>() + offset;
    if (y != nullptr) {
#pragma omp simd
      for (std::int64_t c = 0; c < channels; ++c) h[c] = load(g[c]) * own.at(load(y[c]));
    } else {
#pragma omp simd
      for (std::int64_t c = 0; c < channels; ++c) h[c] = load(g[c]);
    }
    if constexpr (!std::is_same_v<T, C>)
      if (T* out = at<T>(in.h, offset); out != nullptr) {
#pragma omp simd
        for (std::int64_t c = 0; c < channels; ++c) store(out[c], h[c]);
      }
    if (T* out = at<T>(in.x_gradient, offset); out != nullptr) {
#pragma omp simd
      for (std::int64_t c = 0; c < channels; ++c) store(out[c], a[c] * h[c] + b[c] * load(x[c]) + c_[c]);
    }
  }
}

template <class T>
void batch_norm_grad(const BatchNormKernels::NormGradient& in) {
  using C = Computed<T>;
  const Tiling tiling(in.g.shape);
  TileSums sums_h(tiling), sums_hx(tiling);
  tiling.for_each([&](std::int64_t i, std::int64_t n, std::int64_t first, std::int64_t last) {
    const std::int64_t start = n * tiling.pixels;
    add_gradient_sums<T>(in.g, in.y, in.x, Slopes<C>(in.slope, 1), start + first, start + last, sums_h.of(i),
                         sums_hx.of(i));
  });
  const double places = static_cast<double>(tiling.images * tiling.pixels);
  const auto channels = static_cast<std::size_t>(tiling.channels);
  std::vector<C> a(channels), b(channels), c_(channels);
  for (std::size_t c = 0; c < channels; ++c) {
    const double mean = static_cast<double>(in.mean.as<C>()[c]), r = static_cast<double>(in.r.as<C>()[c]);
    const double s1 = sums_h.total(static_cast<std::int64_t>(c));
    const double s2 = (sums_hx.total(static_cast<std::int64_t>(c)) - mean * s1) * r;
    const double scale = static_cast<double>(in.weight.as<C>()[c]) * r, slope = -(scale * r * s2) / places;
    a[c] = static_cast<C>(scale);
    b[c] = static_cast<C>(slope);
    c_[c] = static_cast<C>(-(scale * s1) / places - slope * mean);
    if (in.weight_gradient.data != nullptr) in.weight_gradient.as<C>()[c] = static_cast<C>(s2);
    if (in.bias_gradient.data != nullptr) in.bias_gradient.as<C>()[c] = static_cast<C>(s1);
  }
  if (in.h.data == nullptr && in.x_gradient.data == nullptr) return;
  tiling.for_each([&](std::int64_t, std::int64_t n, std::int64_t first, std::int64_t last) {
    const std::int64_t start = n * tiling.pixels;
    gradient_rows<T, C>(in, start + first, start + last, a.data(), b.data(), c_.data());
  });
}

}  // namespace
}  // namespace cpu

void CpuBackend::batch_norm(const Norm& arguments) {
  dispatch_floating("batch_norm", arguments.x.dtype,
                    [&]<class T>(Type<T>) { cpu::batch_norm<T>(arguments); });
}

void CpuBackend::batch_norm_grad(const NormGradient& arguments) {
  dispatch_floating("batch_norm_grad", arguments.g.dtype,
                    [&]<class T>(Type<T>) { cpu::batch_norm_grad<T>(arguments); });
}

}  // namespace om
