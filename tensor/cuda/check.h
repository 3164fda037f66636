// Every CUDA and cuDNN call goes through check(), which turns a status into an Error that names the call.
#pragma once

#include <cuda_runtime_api.h>

#include "tensor/error.h"

namespace om::cuda {

inline void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // a failed call must not be reported again by the next launch
  fail("cuda: ", call, ": ", cudaGetErrorString(status));
}

/// After a launch: finds a bad configuration or a missing image. What goes wrong while the kernel runs shows
/// at the next synchronize().
inline void check_launch(const char* kernel) { check(cudaGetLastError(), kernel); }

}  // namespace om::cuda
