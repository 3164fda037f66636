// 3x3 convolutions with stride 1 in a quarter of the products (kernels/winograd.cl), forward and for the
// input gradient, which is the same with the weight turned round.
#pragma once

#include "tensor/opencl/opencl_backend.h"

namespace om::opencl {

/// A convolution of x with 3x3 taps and stride 1 into y, with pads that may differ from the contract's. The
/// weight's element for result channel n, channel k of x and tap t lies at n step_n + k step_k + t step_tap,
/// or that of tap 8 - t where `flip`.
struct WinogradConv {
  In x, weight;
  Out y;
  std::int64_t pad_h, pad_w;
  std::int64_t step_n, step_k, step_tap;
  bool flip;
};

/// Whether the sizes allow it and it is faster than the plain product.
bool winograd_pays(const WinogradConv& conv);

void winograd(OpenClBackend& backend, const WinogradConv& conv);

}  // namespace om::opencl
