// Max pooling and upfirdn2d.
#include <algorithm>
#include <cmath>

#include "tensor/reference/reference_backend.h"

namespace om {

using namespace reference;

void ReferenceBackend::max_pool2d(In x, Out y, Out index, const Pool2dParams& params) {
  const std::int64_t height = x.shape[1], width = x.shape[2], channels = x.shape[3];
  dispatch_floating("max_pool2d", x.dtype, [&]<class T>(Type<T>) {
    std::int64_t at = 0;
    for_each_index(y.shape, [&](const Index& i) {
      const T* sample = x.as<T>() + i[0] * height * width * channels;
      const std::int64_t top = i[1] * params.stride_h - params.pad_h;
      const std::int64_t left = i[2] * params.stride_w - params.pad_w;
      std::int64_t best = -1;
      for (std::int64_t h = std::max<std::int64_t>(top, 0); h < std::min(top + params.kernel_h, height); ++h)
        for (std::int64_t w = std::max<std::int64_t>(left, 0); w < std::min(left + params.kernel_w, width);
             ++w) {
          const std::int64_t here = (h * width + w) * channels + i[3];
          const double value = static_cast<double>(sample[here]);
          if (best < 0) best = here;
          const double champion = static_cast<double>(sample[best]);
          if (!std::isnan(champion) && (value > champion || std::isnan(value))) best = here;
        }
      y.as<T>()[at] = sample[best];
      index.as<std::int32_t>()[at++] = static_cast<std::int32_t>(best);
    });
  });
}

void ReferenceBackend::upfirdn2d(In x, In filter, Out y, const UpFirDnParams& params) {
  const std::int64_t height = x.shape[1], width = x.shape[2], channels = x.shape[3];
  const std::int64_t kernel_h = filter.shape[0], kernel_w = filter.shape[1];
  const auto filter_at = [&](std::int64_t r, std::int64_t s) {
    const std::int64_t i =
        params.flip ? r * kernel_w + s : (kernel_h - 1 - r) * kernel_w + (kernel_w - 1 - s);
    return filter.dtype == DType::f64 ? filter.as<double>()[i] : static_cast<double>(filter.as<float>()[i]);
  };
  dispatch_floating("upfirdn2d", x.dtype, [&]<class T>(Type<T>) {
    std::int64_t at = 0;
    for_each_index(y.shape, [&](const Index& i) {
      double sum = 0;
      for (std::int64_t r = 0; r < kernel_h; ++r)
        for (std::int64_t s = 0; s < kernel_w; ++s) {
          // Where in the zero-inserted image this tap falls; only every up-th place holds a number.
          const std::int64_t h = i[1] * params.down_h + r - params.pad_top;
          const std::int64_t w = i[2] * params.down_w + s - params.pad_left;
          if (h < 0 || w < 0 || h % params.up_h != 0 || w % params.up_w != 0) continue;
          if (h / params.up_h >= height || w / params.up_w >= width) continue;
          sum +=
              filter_at(r, s) *
              static_cast<double>(
                  x.as<T>()[((i[0] * height + h / params.up_h) * width + w / params.up_w) * channels + i[3]]);
        }
      y.as<T>()[at++] = convert<T>(sum);
    });
  });
}

}  // namespace om
