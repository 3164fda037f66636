// Device, stream and memory. cudaMalloc is slow and synchronises, so only the caching allocator calls it.
#include "tensor/cuda/cuda_backend.h"

#include <algorithm>

#include "tensor/cuda/blas.h"
#include "tensor/cuda/check.h"
#include "tensor/cuda/conv_plans.h"
#include "tensor/cuda/cudnn.h"
#include "tensor/cuda/read_later.h"
#include "tensor/registry.h"

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
  const int device = om::device() % devices;
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  int driver = 0, runtime = 0;
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  capability_ = properties.major * 10 + properties.minor;
  card_ = properties.name;
  multiprocessors_ = properties.multiProcessorCount;
  most_shared_memory_ = properties.sharedMemPerBlockOptin;
  total_memory_ = properties.totalGlobalMem;
  int clock = 0, memory_clock = 0, bus = 0;  // kHz, kHz, bits
  check(cudaDeviceGetAttribute(&clock, cudaDevAttrClockRate, device), "cudaDeviceGetAttribute");
  check(cudaDeviceGetAttribute(&memory_clock, cudaDevAttrMemoryClockRate, device), "cudaDeviceGetAttribute");
  check(cudaDeviceGetAttribute(&bus, cudaDevAttrGlobalMemoryBusWidth, device), "cudaDeviceGetAttribute");
  clock_ = 1e3 * clock;
  peak_bandwidth_ = 2e3 * memory_clock * bus / 8;
  description_ = text(properties.name, ", ", properties.totalGlobalMem >> 20U, " MiB, ", multiprocessors_,
                      " multiprocessors at ", clock / 1000, " MHz, memory at ", memory_clock / 1000,
                      " MHz, compute capability ", properties.major, '.', properties.minor, ", CUDA ",
                      version(runtime, 1000, 10), " (driver ", version(driver, 1000, 10), ')');
  check(cudaSetDevice(device), "cudaSetDevice");
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  plans_ = std::make_unique<ConvPlans>(*this);
  landings_ = std::make_shared<Landings>();
}

std::string CudaBackend::description() const {
  try {
    const auto number = static_cast<int>(cudnn().version());
    return text(description_, ", cuDNN ", version(number, 10000, 100), '.', number % 100);
  } catch (const Error&) {  // says itself what is missing where a convolution wants it
    return description_ + ", no cuDNN";
  }
}

std::string CudaBackend::plan_file_name() const {
  std::string name = "plans-" + card_ + "-cudnn" + std::to_string(cudnn().version()) + ".txt";
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return c <= ' ' || c == '/' || c > '~'; }, '-');
  return name;
}

/// Operations a cycle and multiprocessor, from NVIDIA's white papers.
double CudaBackend::peak_flops(DType dtype, Math math) const {
  const bool hopper = capability_ >= 90 && capability_ < 120;  // and Blackwell's large chips
  const bool large = capability_ == 80 || hopper;
  double rate = capability_ == 75 || capability_ == 80 ? 128 : 256;
  if (dtype == DType::bf16) rate = hopper ? 4096 : large ? 2048 : 1024;
  if (dtype == DType::f32 && math == Math::tf32) rate = hopper ? 2048 : large ? 1024 : 512;
  return rate * clock_ * multiprocessors_;
}

CudaBackend::~CudaBackend() {
  cudaStreamSynchronize(stream_);
  plans_.reset();
  blas_.reset();
  landings_.reset();
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
  const auto size = static_cast<std::int64_t>(bytes);
  const Ordered order(*this, {In{source, DType::u8, {size}}}, {Out{destination, DType::u8, {size}}});
  check(cudaMemcpyAsync(destination, source, bytes, cudaMemcpyDeviceToDevice, stream_),
        "cudaMemcpyAsync on the device");
}

void CudaBackend::synchronize() {
  refuse_capture("waiting for the device");
  check(cudaStreamSynchronize(stream_), "an earlier kernel failed");
}

}  // namespace cuda
}  // namespace om
