// Device, stream and memory. cudaMalloc is slow and synchronises, so only the caching allocator calls it.
#include "tensor/cuda/cuda_backend.h"

#include <cudnn.h>

#include <algorithm>

#include "tensor/cuda/blas.h"
#include "tensor/cuda/check.h"
#include "tensor/cuda/conv_plans.h"

namespace om {

std::unique_ptr<Backend> make_cuda_backend() { return std::make_unique<cuda::CudaBackend>(); }

namespace cuda {
namespace {

std::string version(int number, int major, int minor) {
  return text(number / major, '.', number % major / minor);
}

}  // namespace

CudaBackend::CudaBackend() {
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status != cudaSuccess || devices == 0) {
    cudaGetLastError();
    fail("cuda: no device (", status == cudaSuccess ? "none is visible" : cudaGetErrorString(status), ")");
  }
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
  int driver = 0, runtime = 0;
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  capability_ = properties.major * 10 + properties.minor;
  const auto cudnn = static_cast<int>(cudnnGetVersion());
  description_ =
      text(properties.name, ", ", properties.totalGlobalMem >> 20U, " MiB, compute capability ",
           properties.major, '.', properties.minor, ", CUDA ", version(runtime, 1000, 10), " (driver ",
           version(driver, 1000, 10), "), cuDNN ", version(cudnn, 10000, 100), '.', cudnn % 100);
  check(cudaSetDevice(0), "cudaSetDevice");
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  plans_ = std::make_unique<ConvPlans>(*this);
}

CudaBackend::~CudaBackend() {
  cudaStreamSynchronize(stream_);
  plans_.reset();
  blas_.reset();
  memory().close();
  cudaStreamDestroy(stream_);
}

void* CudaBackend::allocate(std::size_t bytes) {
  void* pointer = nullptr;
  const cudaError_t status = cudaMalloc(&pointer, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    std::size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    fail<OutOfMemory>("cuda: cudaMalloc of ", bytes, " bytes failed, ", free, " of ", total, " free");
  }
  check(status, "cudaMalloc");
  return pointer;
}

void CudaBackend::release(void* pointer) { cudaFree(pointer); }

void* CudaBackend::allocate_pinned(std::size_t bytes) {
  void* pointer = nullptr;
  const cudaError_t status = cudaHostAlloc(&pointer, std::max<std::size_t>(bytes, 1), cudaHostAllocDefault);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    fail<OutOfMemory>("cuda: no ", bytes, " bytes of pinned host memory");
  }
  check(status, "cudaHostAlloc");
  return pointer;
}

void CudaBackend::release_pinned(void* pointer) { cudaFreeHost(pointer); }

void CudaBackend::copy_from_host(void* destination, const void* source, std::size_t bytes) {
  // Recorded, this would read the host address again at every replay, when the caller's bytes are long gone.
  refuse_capture("copying from the host");
  if (bytes == 0) return;
  check(cudaMemcpyAsync(destination, source, bytes, cudaMemcpyHostToDevice, stream_),
        "cudaMemcpyAsync from the host");
}

void CudaBackend::copy_to_host(void* destination, const void* source, std::size_t bytes) {
  refuse_capture("reading a value");
  if (bytes > 0)
    check(cudaMemcpyAsync(destination, source, bytes, cudaMemcpyDeviceToHost, stream_),
          "cudaMemcpyAsync to the host");
  synchronize();
}

void CudaBackend::copy(void* destination, const void* source, std::size_t bytes) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(destination, source, bytes, cudaMemcpyDeviceToDevice, stream_),
        "cudaMemcpyAsync on the device");
}

void CudaBackend::synchronize() {
  refuse_capture("waiting for the device");
  check(cudaStreamSynchronize(stream_), "an earlier kernel failed");
}

}  // namespace cuda
}  // namespace om
