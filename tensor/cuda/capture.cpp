// Captured graphs. While a capture is open the stream records instead of running, and the allocator serves
// from a private pool, so that the recorded addresses stay the graph's own until the graph ends.
#include "tensor/cuda/check.h"
#include "tensor/cuda/cuda_backend.h"

namespace om::cuda {
namespace {

class CudaGraph final : public CapturedGraph {
 public:
  CudaGraph(CudaBackend& backend, cudaGraphExec_t executable, CachingAllocator::Pool pool)
      : backend_(backend), executable_(executable), pool_(pool) {}

  ~CudaGraph() override {
    cudaStreamSynchronize(backend_.stream());  // a replay may still use the pool
    cudaGraphExecDestroy(executable_);
    backend_.memory().drop_pool(pool_);
  }

  void replay() override { check(cudaGraphLaunch(executable_, backend_.stream()), "cudaGraphLaunch"); }

 private:
  CudaBackend& backend_;
  cudaGraphExec_t executable_;
  CachingAllocator::Pool pool_;
};

}  // namespace

void CudaBackend::refuse_capture(const char* action) const {
  if (capturing_) fail("cuda: ", action, " is not possible while a graph is being captured");
}

bool CudaBackend::begin_capture() {
  refuse_capture("a second capture");
  capture_pool_ = memory().begin_pool();
  // Relaxed: the pool may have to call cudaMalloc during the capture.
  const cudaError_t status = cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed);
  if (status != cudaSuccess) {
    memory().end_pool();
    memory().drop_pool(capture_pool_);
    check(status, "cudaStreamBeginCapture");
  }
  capturing_ = true;
  return true;
}

std::unique_ptr<CapturedGraph> CudaBackend::end_capture() {
  if (!capturing_) fail("cuda: end_capture without begin_capture");
  capturing_ = false;
  memory().end_pool();
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  cudaError_t status = cudaStreamEndCapture(stream_, &graph);
  if (status == cudaSuccess) status = cudaGraphInstantiate(&executable, graph, 0);
  if (graph != nullptr) cudaGraphDestroy(graph);
  if (status != cudaSuccess) {
    memory().drop_pool(capture_pool_);
    check(status, "capturing a graph");
  }
  return std::make_unique<CudaGraph>(*this, executable, capture_pool_);
}

}  // namespace om::cuda
