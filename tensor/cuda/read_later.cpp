#include "tensor/cuda/read_later.h"

#include <algorithm>

#include "tensor/cuda/check.h"
#include "tensor/cuda/cuda_backend.h"

namespace om::cuda {

class Landings::Read final : public PendingRead {
 public:
  Read(std::shared_ptr<Landings> owner, Landing landing, std::size_t bytes)
      : owner_(std::move(owner)), landing_(landing), bytes_(bytes) {}
  ~Read() override {
    cudaEventSynchronize(landing_.event);  // the copy may still be under way
    owner_->give_back(landing_);
  }
  const Landing& landing() const { return landing_; }
  bool arrived() override { return cudaEventQuery(landing_.event) != cudaErrorNotReady; }
  std::span<const std::byte> wait() override {
    check(cudaEventSynchronize(landing_.event), "an earlier kernel failed");
    return {static_cast<const std::byte*>(landing_.data), bytes_};
  }

 private:
  std::shared_ptr<Landings> owner_;
  Landing landing_;
  std::size_t bytes_;
};

Landings::~Landings() {
  for (const Landing& landing : free_) end(landing);
}

void Landings::end(const Landing& landing) {
  cudaEventDestroy(landing.event);
  cudaFreeHost(landing.data);
}

Landings::Landing Landings::take(std::size_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    auto best = free_.end();
    for (auto at = free_.begin(); at != free_.end(); ++at)
      if (at->size >= bytes && (best == free_.end() || at->size < best->size)) best = at;
    if (best != free_.end()) {
      const Landing landing = *best;
      free_.erase(best);
      return landing;
    }
  }
  Landing landing;
  landing.size = std::max<std::size_t>(bytes, 4096);
  const cudaError_t status = cudaHostAlloc(&landing.data, landing.size, cudaHostAllocDefault);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    fail<OutOfMemory>("cuda: no ", bytes, " bytes of pinned host memory");
  }
  check(status, "cudaHostAlloc");
  const cudaError_t made = cudaEventCreateWithFlags(&landing.event, cudaEventDisableTiming);
  if (made != cudaSuccess) cudaFreeHost(landing.data);
  check(made, "cudaEventCreateWithFlags");
  return landing;
}

void Landings::give_back(const Landing& landing) {
  const std::lock_guard lock(mutex_);
  free_.push_back(landing);
}

std::unique_ptr<PendingRead> Landings::read(const void* source, std::size_t bytes, cudaStream_t stream) {
  auto read = std::make_unique<Read>(shared_from_this(), take(bytes), bytes);
  const Landing& landing = read->landing();
  if (bytes > 0)
    check(cudaMemcpyAsync(landing.data, source, bytes, cudaMemcpyDeviceToHost, stream),
          "cudaMemcpyAsync to the host");
  check(cudaEventRecord(landing.event, stream), "cudaEventRecord");
  return read;
}

std::unique_ptr<PendingRead> CudaBackend::read_later(const void* source, std::size_t bytes) {
  refuse_capture("reading a value");
  return landings_->read(source, bytes, stream_);
}

}  // namespace om::cuda
