// matmul: narrow products and those of a few rows by kernels of our own, the others by cuBLAS, as one
// strided, batched product. cuBLAS is column-major, so it computes the transposed product: a row-major [M, K]
// array is its column-major [K, M] one.
#include "tensor/cuda/blas.h"
#include "tensor/cuda/check.h"
#include "tensor/cuda/conv_narrow.h"
#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/few_rows.h"
#include "tensor/cuda/library.h"

namespace om::cuda {
namespace {

cudaDataType_t type_of(DType dtype) {
  return dtype == DType::f64 ? CUDA_R_64F : dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
}

cublasComputeType_t compute_of(DType dtype, Math math) {
  if (dtype == DType::f64) return CUBLAS_COMPUTE_64F;
  if (dtype == DType::bf16) return CUBLAS_COMPUTE_32F;
  // Pedantic: float arithmetic and nothing that only resembles it.
  return math == Math::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F_PEDANTIC;
}

}  // namespace

void check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS) fail("cuda: ", call, ": cuBLAS status ", static_cast<int>(status));
}

Blas::Blas(cudaStream_t stream) {
  const std::string name = text("libcublas.so.", CUDART_VERSION / 1000);
  const Library library =
      open_library(name.c_str(), "matrix products need cuBLAS",
                   "libcublas-VERSION or cuda-libraries-VERSION of NVIDIA's repositories, nvidia-cublas or "
                   "nvidia-cublas-cu12 of PyPI");
  const decltype(&cublasCreate_v2) create = library.find("cublasCreate_v2");
  const decltype(&cublasSetStream_v2) set_stream = library.find("cublasSetStream_v2");
  const decltype(&cublasSetWorkspace_v2) set_workspace = library.find("cublasSetWorkspace_v2");
  gemm = library.find("cublasGemmStridedBatchedEx_64");
  destroy_ = library.find("cublasDestroy_v2");
  check(create(&handle), "cublasCreate");
  check(set_stream(handle, stream), "cublasSetStream");
  check(cudaMalloc(&workspace_, kWorkspace), "cudaMalloc");
  check(set_workspace(handle, workspace_, kWorkspace), "cublasSetWorkspace");
}

Blas::~Blas() {
  destroy_(handle);
  cudaFree(workspace_);
}

void CudaBackend::matmul(In a, In b, Out y, const MatmulParams& params) {
  const Ordered order(*this, {a, b}, {y});
  const std::int64_t batch = y.shape[0], m = y.shape[1], n = y.shape[2];
  const std::int64_t k = a.shape[params.transpose_a ? 1 : 2];
  if (y.shape.elements() == 0) return;
  if (k == 0) return fill(y, 0);
  if (narrow_matmul(*this, a, b, y, params) || few_rows_matmul(*this, a, b, y, params)) return;
  if (blas_ == nullptr) blas_ = std::make_unique<Blas>(stream_);
  use_scratch(blas_->workspace(), Blas::kWorkspace);
  const double one = 1, zero = 0;
  const float one_f = 1, zero_f = 0;
  const bool is_double = y.dtype == DType::f64;
  const auto batch_stride = [](const In& x) { return x.shape[0] == 1 ? 0 : x.shape[1] * x.shape[2]; };
  const cudaDataType_t type = type_of(a.dtype), result = type_of(y.dtype);
  check(blas_->gemm(blas_->handle, params.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                    params.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, n, m, k,
                    is_double ? static_cast<const void*>(&one) : &one_f, b.data, type, b.shape[2],
                    batch_stride(b), a.data, type, a.shape[2], batch_stride(a),
                    is_double ? static_cast<const void*>(&zero) : &zero_f, y.data, result, n, m * n, batch,
                    compute_of(a.dtype, params.math), CUBLAS_GEMM_DEFAULT),
        "matmul");
}

}  // namespace om::cuda
