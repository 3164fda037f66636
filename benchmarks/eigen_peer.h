// Eigen's GEMM as tensor/cpu would use it: single-threaded on fixed tiles, the team of threads over them. It
// stands here for comparison alone; tensor/cpu packs and multiplies itself (tensor/cpu/gemm.h).
#pragma once

#include <cstdint>

namespace om::peer {

/// y [m, n] = a [m, k] b [k, n].
void eigen_matmul(const float* a, const float* b, float* y, std::int64_t m, std::int64_t n, std::int64_t k);

/// A 3x3 convolution with stride 1 and padding 1 as a product: x [h, w, i], weight [o, 3, 3, i] -> y [h, w,
/// o].
void eigen_conv3x3(const float* x, const float* weight, float* y, std::int64_t h, std::int64_t w,
                   std::int64_t i, std::int64_t o);

}  // namespace om::peer
