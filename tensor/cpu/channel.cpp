// ChannelKernels for the cpu: each is one pass over memory.
#include "tensor/cpu/channel.h"

#include "tensor/cpu/cpu_backend.h"

namespace om {
namespace cpu {

namespace {

/// One pixel; what is absent costs nothing.
template <bool residual, bool factor, class T, class C>
void activate(const T* x, const C* scale, C shift, const C* bias, const T* more, const C* factors, T* y,
              std::int64_t channels, Slopes<C> slopes) {
#pragma omp simd
  for (std::int64_t c = 0; c < channels; ++c) {
    C u = load(x[c]) * scale[c] + shift + bias[c];
    if constexpr (residual) u += load(more[c]);
    u = slopes.of(u);
    if constexpr (factor) u *= factors[c];
    store(y[c], u);
  }
}

}  // namespace

template <class T>
void activation(const ChannelKernels::Activation& in, Out y) {
  using C = Computed<T>;
  const Tiling tiling(in.x.shape);
  const std::int64_t channels = tiling.channels;
  const Coefficients<C> scale(in.scale, channels, 1), bias(in.bias, channels, 0);
  const Coefficients<C> factor(in.factor, channels, 1);
  const Slopes<C> slopes(in.slope, in.gain);
  const C strength = in.noise.data != nullptr ? *in.strength.as<C>() : C{0};
  const std::int64_t noise_step = in.noise.data != nullptr && in.noise.shape[0] > 1 ? tiling.pixels : 0;
  const bool more = in.residual.data != nullptr, factors = in.factor.data != nullptr;
  const auto pixel = more && factors ? activate<true, true, T, C>
                     : more          ? activate<true, false, T, C>
                     : factors       ? activate<false, true, T, C>
                                     : activate<false, false, T, C>;
  tiling.for_each([&](std::int64_t, std::int64_t n, std::int64_t first, std::int64_t last) {
    const C* noise = at<C>(in.noise, n * noise_step);
    for (std::int64_t p = first; p < last; ++p) {
      const std::int64_t offset = (n * tiling.pixels + p) * channels;
      pixel(in.x.as<T>() + offset, scale.of(n), noise != nullptr ? strength * noise[p] : C{0}, bias.of(n),
            at<T>(in.residual, offset), factor.of(n), y.as<T>() + offset, channels, slopes);
    }
  });
}
template void activation<float>(const ChannelKernels::Activation&, Out);
template void activation<double>(const ChannelKernels::Activation&, Out);
template void activation<BFloat16>(const ChannelKernels::Activation&, Out);

template <class T>
void add_gradient_sums(In g_in, In y_in, In x_in, Slopes<Computed<T>> slopes, std::int64_t first,
                       std::int64_t last, double* sum_h, double* sum_hx) {
  using C = Computed<T>;
  const std::int64_t channels = g_in.shape[3];
  const T *g = g_in.as<T>(), *y = at<T>(y_in, 0), *x = x_in.data != nullptr ? x_in.as<T>() : g;
  const auto sum = [&](auto slope) {
    sum_pixels(first, last, channels, sum_h, sum_hx,
               [=](std::int64_t p, std::int64_t c, double& a, double& b) {
                 const C h = load(g[p * channels + c]) * slope(p * channels + c);
                 a += static_cast<double>(h);
                 b += static_cast<double>(h) * static_cast<double>(load(x[p * channels + c]));
               });
  };
  if (y != nullptr)
    sum([=](std::int64_t at) { return slopes.at(load(y[at])); });
  else
    sum([=](std::int64_t) { return slopes.high; });
}
template void add_gradient_sums<float>(In, In, In, Slopes<float>, std::int64_t, std::int64_t, double*,
                                       double*);
template void add_gradient_sums<double>(In, In, In, Slopes<double>, std::int64_t, std::int64_t, double*,
                                        double*);
template void add_gradient_sums<BFloat16>(In, In, In, Slopes<float>, std::int64_t, std::int64_t, double*,
                                          double*);

namespace {

/// The gradient of the argument u, pixel by pixel: from the sign of y, or from u formed again.
template <class T>
class ArgumentGradient {
 public:
  using C = Computed<T>;

  explicit ArgumentGradient(const ChannelKernels::ActivationGradient& in)
      : in_(in),
        tiling_(in.g.shape),
        slopes_(in.inputs.slope, in.inputs.gain),
        from_argument_(in.inputs.factor.data != nullptr || (in.y.data == nullptr && in.inputs.slope != 1)),
        scale_(in.inputs.scale, tiling_.channels, 1),
        bias_(in.inputs.bias, tiling_.channels, 0),
        factor_(in.inputs.factor, tiling_.channels, 1) {}

  const Tiling& tiling() const { return tiling_; }
  const C* scale(std::int64_t image) const { return scale_.of(image); }

  /// h of pixel p of image n, and gain f(u) where z is given.
  void row(std::int64_t n, std::int64_t p, C* h, C* z) const {
    const std::int64_t channels = tiling_.channels, offset = (n * tiling_.pixels + p) * channels;
    const T* g = in_.g.as<T>() + offset;
    const Slopes<C> own = slopes_;
    if (!from_argument_) {
      if (const T* y = at<T>(in_.y, offset); y != nullptr) {
#pragma omp simd
        for (std::int64_t c = 0; c < channels; ++c) h[c] = load(g[c]) * own.at(load(y[c]));
      } else {
#pragma omp simd
        for (std::int64_t c = 0; c < channels; ++c) h[c] = load(g[c]) * own.high;
      }
      return;
    }
    const ChannelKernels::Activation& in = in_.inputs;
    const std::int64_t map = in.noise.data != nullptr && in.noise.shape[0] > 1 ? n * tiling_.pixels + p : p;
    const C shift = in.noise.data != nullptr ? *in.strength.as<C>() * in.noise.as<C>()[map] : C{0};
    const C *s = scale_.of(n), *b = bias_.of(n), *f = factor_.of(n);
    const T *x = in.x.as<T>() + offset, *residual = at<T>(in.residual, offset);
    if (residual != nullptr) {
#pragma omp simd
      for (std::int64_t c = 0; c < channels; ++c) h[c] = load(residual[c]);
    } else {
      std::fill_n(h, channels, C{0});
    }
#pragma omp simd
    for (std::int64_t c = 0; c < channels; ++c) {
      const C u = load(x[c]) * s[c] + shift + b[c] + h[c];
      if (z != nullptr) z[c] = own.of(u);
      h[c] = load(g[c]) * f[c] * own.at(u);
    }
  }

  /// The sums over a tile, rows of h and z at a time where u is formed again.
  void sums(std::int64_t n, std::int64_t first, std::int64_t last, double* sum_h, double* sum_hx,
            double* sum_gz) const {
    const std::int64_t channels = tiling_.channels, start = n * tiling_.pixels;
    if (!from_argument_)
      return add_gradient_sums<T>(in_.g, in_.y, in_.inputs.x, slopes_, start + first, start + last, sum_h,
                                  sum_hx);
    constexpr std::int64_t kRows = 8;
    std::vector<C> h(static_cast<std::size_t>(kRows * channels)), z(h.size());
    for (std::int64_t p = first; p < last; p += kRows) {
      const std::int64_t rows = std::min(kRows, last - p);
      for (std::int64_t i = 0; i < rows; ++i) row(n, p + i, h.data() + i * channels, z.data() + i * channels);
      const T* x = in_.inputs.x.as<T>() + (start + p) * channels;
      const T* g = in_.g.as<T>() + (start + p) * channels;
      const C *hs = h.data(), *zs = z.data();
      sum_pixels(0, rows, channels, sum_h, sum_hx, [=](std::int64_t i, std::int64_t c, double& a, double& b) {
        a += static_cast<double>(hs[i * channels + c]);
        b += static_cast<double>(hs[i * channels + c]) * static_cast<double>(load(x[i * channels + c]));
      });
      sum_pixels(0, rows, channels, sum_gz, sum_gz, [=](std::int64_t i, std::int64_t c, double& a, double&) {
        a += static_cast<double>(load(g[i * channels + c])) * static_cast<double>(zs[i * channels + c]);
      });
    }
  }

 private:
  const ChannelKernels::ActivationGradient& in_;
  Tiling tiling_;
  Slopes<C> slopes_;
  bool from_argument_;
  Coefficients<C> scale_, bias_, factor_;
};

template <class T>
void activation_grad(const ChannelKernels::ActivationGradient& in) {
  using C = Computed<T>;
  const ArgumentGradient<T> argument(in);
  const Tiling& tiling = argument.tiling();
  const std::int64_t channels = tiling.channels;
  const bool sums = in.sum_h.data != nullptr || in.sum_hx.data != nullptr || in.sum_gz.data != nullptr;
  const bool maps = in.h.data != nullptr || in.x_gradient.data != nullptr || in.map.data != nullptr;
  const Tiling none(Shape{0, 0, 0, 0});
  TileSums sums_h(sums ? tiling : none), sums_hx(sums ? tiling : none), sums_gz(sums ? tiling : none);
  tiling.for_each([&](std::int64_t i, std::int64_t n, std::int64_t first, std::int64_t last) {
    if (sums) argument.sums(n, first, last, sums_h.of(i), sums_hx.of(i), sums_gz.of(i));
    if (!maps) return;
    thread_local std::vector<C> room;  // h of one pixel
    room.resize(static_cast<std::size_t>(channels));
    const C* scale = argument.scale(n);
    for (std::int64_t p = first; p < last; ++p) {
      const std::int64_t offset = (n * tiling.pixels + p) * channels;
      C* h = room.data();
      if constexpr (std::is_same_v<T, C>)
        if (in.h.data != nullptr) h = in.h.as<T>() + offset;
      argument.row(n, p, h, nullptr);
      if constexpr (!std::is_same_v<T, C>)
        if (T* out = at<T>(in.h, offset); out != nullptr) {
#pragma omp simd
          for (std::int64_t c = 0; c < channels; ++c) store(out[c], h[c]);
        }
      if (T* out = at<T>(in.x_gradient, offset); out != nullptr) {
#pragma omp simd
        for (std::int64_t c = 0; c < channels; ++c) store(out[c], scale[c] * h[c]);
      }
      if (in.map.data != nullptr) {
        double total = 0;
#pragma omp simd reduction(+ : total)
        for (std::int64_t c = 0; c < channels; ++c) total += static_cast<double>(h[c]);
        in.map.as<C>()[n * tiling.pixels + p] = static_cast<C>(total);
      }
    }
  });
  sums_h.store<C>(in.sum_h);
  sums_hx.store<C>(in.sum_hx);
  sums_gz.store<C>(in.sum_gz);
}

}  // namespace
}  // namespace cpu

void CpuBackend::channel_activation(const Activation& inputs, Out y) {
  dispatch_floating("channel_activation", y.dtype, [&]<class T>(Type<T>) { cpu::activation<T>(inputs, y); });
}

void CpuBackend::channel_activation_grad(const ActivationGradient& arguments) {
  dispatch_floating("channel_activation_grad", arguments.g.dtype,
                    [&]<class T>(Type<T>) { cpu::activation_grad<T>(arguments); });
}

}  // namespace om
