#include "nn/resample.h"

#include "autograd/ops.h"

namespace om {

Tensor fir_filter(const std::vector<double>& taps, double gain, DType dtype, Backend& backend) {
  double sum = 0;
  for (const double tap : taps) sum += tap;
  std::vector<double> filter;
  for (const double row : taps)
    for (const double column : taps) filter.push_back(row * column / (sum * sum) * gain);
  const auto size = static_cast<std::int64_t>(taps.size());
  return cast(Tensor::from_host(filter, {size, size}, backend), dtype);
}

Tensor upsample2(const Tensor& x, const Tensor& filter) {
  UpFirDnParams params;
  params.up_h = params.up_w = 2;
  const std::int64_t taps = filter.size(0);
  params.pad_top = params.pad_left = (taps + 1) / 2;
  params.pad_bottom = params.pad_right = (taps - 1) / 2;
  return upfirdn2d(x, filter, params);
}

Tensor blur(const Tensor& x, const Tensor& filter, std::int64_t before, std::int64_t after) {
  UpFirDnParams params;
  params.pad_top = params.pad_left = before;
  params.pad_bottom = params.pad_right = after;
  return upfirdn2d(x, filter, params);
}

}  // namespace om
