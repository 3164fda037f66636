// Products of a few rows with a matrix, as the layers of one image's styles and latents are: y [M, N] = a [M,
// K] b [N, K]^T for M <= 8. cuBLAS takes 4 microseconds for one of 512 by 512 and a workspace that products
// take in turns; these read b once, at the speed of the cache, and may run beside anything.
#pragma once

#include "tensor/cuda/cuda_backend.h"

namespace om::cuda {

/// Enqueues the product where it is such a one, in f32 with float sums, as strict asks; false elsewhere.
bool few_rows_matmul(CudaBackend& backend, const In& a, const In& b, const Out& y,
                     const MatmulParams& params);

}  // namespace om::cuda
