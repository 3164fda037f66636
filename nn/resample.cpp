#include "nn/resample.h"

#include <algorithm>

#include "autograd/ops.h"

namespace om {
namespace {

/// [to, from]: row i holds the weights of the two places that output i lies between.
Tensor interpolation(std::int64_t from, std::int64_t to, DType dtype, Backend& backend) {
  std::vector<double> weights(static_cast<std::size_t>(to * from));
  for (std::int64_t i = 0; i < to; ++i) {
    const double scale = static_cast<double>(from) / static_cast<double>(to);
    const double at = std::max(0.0, (static_cast<double>(i) + 0.5) * scale - 0.5);
    const auto left = static_cast<std::int64_t>(at);
    const std::int64_t right = std::min(left + 1, from - 1);
    const double part = at - static_cast<double>(left);
    weights[static_cast<std::size_t>(i * from + left)] += 1 - part;
    weights[static_cast<std::size_t>(i * from + right)] += part;
  }
  return Tensor::from_numbers(weights, {to, from}, dtype, backend);
}

}  // namespace

Tensor fir_filter(const std::vector<double>& taps, double gain, DType dtype, Backend& backend) {
  double sum = 0;
  for (const double tap : taps) sum += tap;
  std::vector<double> filter;
  for (const double row : taps)
    for (const double column : taps) filter.push_back(row * column / (sum * sum) * gain);
  const auto size = static_cast<std::int64_t>(taps.size());
  return Tensor::from_numbers(filter, {size, size}, dtype, backend);
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

Tensor resize_linear(const Tensor& x, std::int64_t height, std::int64_t width) {
  const std::int64_t n = x.size(0), h = x.size(1), w = x.size(2), c = x.size(3);
  const Tensor rows = matmul(interpolation(h, height, x.dtype(), x.backend()), reshape(x, {n, h, w * c}));
  const Tensor columns = interpolation(w, width, x.dtype(), x.backend());
  return reshape(matmul(columns, reshape(rows, {n * height, w, c})), {n, height, width, c});
}

Tensor average_pool3(const Tensor& x) {
  const Tensor box = fir_filter({1, 1, 1}, 9, x.dtype(), x.backend());
  const Tensor inside = Tensor::full({1, x.size(1), x.size(2), 1}, 1, x.dtype(), x.backend());
  return blur(x, box, 1, 1) * reciprocal(blur(inside, box, 1, 1));
}

}  // namespace om
