// The one cuBLAS function that matmul needs. cuBLAS is opened when it is first needed (library.h), not when
// the program starts: with it and cuBLASLt mapped, every `onemodel info` would take 0.15 s and 200 MB more.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

namespace om::cuda {

class Blas {
 public:
  /// Error where the library is missing. The workspace is this object's own, so that captures find it ready.
  explicit Blas(cudaStream_t stream);
  ~Blas();
  Blas(const Blas&) = delete;
  Blas& operator=(const Blas&) = delete;

  static constexpr std::size_t kWorkspace = std::size_t{32} << 20;  // bytes, what cuBLAS asks for on Hopper
  void* workspace() const { return workspace_; }

  decltype(&cublasGemmStridedBatchedEx_64) gemm = nullptr;
  cublasHandle_t handle = nullptr;

 private:
  decltype(&cublasDestroy_v2) destroy_ = nullptr;
  void* workspace_ = nullptr;
};

void check(cublasStatus_t status, const char* call);

}  // namespace om::cuda
