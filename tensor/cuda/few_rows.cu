#include "tensor/cuda/check.h"
#include "tensor/cuda/few_rows.h"
#include "tensor/cuda/vector.h"

namespace om::cuda {
namespace {

constexpr int kWarp = 32, kWarps = 4;  // of a block
constexpr std::int64_t kMostRows = 8;

/// A warp forms one column of y: its lanes walk along a row of b, four numbers at a time, and add up at the
/// end.
template <int M>
__global__ void __launch_bounds__(kWarp* kWarps)
    few_rows_kernel(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ y,
                    std::int64_t rows, std::int64_t columns, std::int64_t depth) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if (column >= columns) return;
  const float* const weights = b + column * depth;
  float sums[M] = {};
  for (std::int64_t k = lane * 4; k < depth; k += kWarp * 4) {
    const float4 w = *reinterpret_cast<const float4*>(weights + k);
#pragma unroll
    for (int m = 0; m < M; ++m) {
      if (m >= rows) break;
      const float4 x = *reinterpret_cast<const float4*>(a + m * depth + k);
      sums[m] = fmaf(x.w, w.w, fmaf(x.z, w.z, fmaf(x.y, w.y, fmaf(x.x, w.x, sums[m]))));
    }
  }
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int step = kWarp / 2; step > 0; step /= 2) sums[m] += __shfl_xor_sync(0xffffffffU, sums[m], step);
    if (lane == 0 && m < rows) y[m * columns + column] = sums[m];
  }
}

}  // namespace

bool few_rows_matmul(CudaBackend& backend, const In& a, const In& b, const Out& y,
                     const MatmulParams& params) {
  if (a.dtype != DType::f32 || y.dtype != DType::f32 || params.transpose_a || !params.transpose_b)
    return false;
  if (b.shape[0] != 1 || a.shape[0] != y.shape[0]) return false;
  const std::int64_t rows = y.shape[0] * y.shape[1], columns = y.shape[2], depth = a.shape[2];
  if (rows > kMostRows || depth % 4 != 0 || columns < kWarp || !aligned(16, a.data, b.data)) return false;
  const auto blocks = static_cast<unsigned>((columns + kWarps - 1) / kWarps);
  const auto launch = [&]<int M>(std::integral_constant<int, M>) {
    few_rows_kernel<M><<<blocks, kWarp * kWarps, 0, backend.stream()>>>(a.as<float>(), b.as<float>(),
                                                                        y.as<float>(), rows, columns, depth);
  };
  if (rows == 1)
    launch(std::integral_constant<int, 1>{});
  else if (rows <= 4)
    launch(std::integral_constant<int, 4>{});
  else
    launch(std::integral_constant<int, 8>{});
  check_launch("matmul");
  return true;
}

}  // namespace om::cuda
