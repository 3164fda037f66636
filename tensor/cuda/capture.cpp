// Captured graphs. While a capture is open the stream records instead of running, and the allocator serves
// from a private pool, so that the recorded addresses stay the graph's own until the graph ends. What has to
// wait for what is capture_order.h's matter.
#include <vector>

#include "tensor/cuda/check.h"
#include "tensor/cuda/cuda_backend.h"

#if CUDART_VERSION < 13000  // the same functions under their names of CUDA 12.3
#define cudaGraphGetEdges cudaGraphGetEdges_v2
#define cudaGraphAddDependencies cudaGraphAddDependencies_v2
#define cudaGraphRemoveDependencies cudaGraphRemoveDependencies_v2
#endif

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

/// Makes every kernel wait until those before it have ended. cuDNN marks its kernels as ones that may start
/// while the one in front runs and wait inside (programmatic dependent launch). Some of its plans begin with
/// a small kernel that sets counters in the workspace and does not wait: what follows waits for that one
/// alone and so overtakes the kernel in front. Seen with cuDNN 9.19 on an H200 where two convolutions
/// followed each other: results that differed from run to run, by 1e-2. With whole edges none did, in the
/// same time.
cudaError_t complete_edges(cudaGraph_t graph) {
  std::size_t count = 0;
  cudaError_t status = cudaGraphGetEdges(graph, nullptr, nullptr, nullptr, &count);
  std::vector<cudaGraphNode_t> from(count), to(count);
  std::vector<cudaGraphEdgeData> data(count);
  if (status == cudaSuccess) status = cudaGraphGetEdges(graph, from.data(), to.data(), data.data(), &count);
  const cudaGraphEdgeData whole{};
  for (std::size_t i = 0; i < count && status == cudaSuccess; ++i) {
    if (data[i].type == whole.type && data[i].from_port == whole.from_port) continue;
    status = cudaGraphRemoveDependencies(graph, &from[i], &to[i], &data[i], 1);
    if (status == cudaSuccess) status = cudaGraphAddDependencies(graph, &from[i], &to[i], &whole, 1);
  }
  return status;
}

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
  order_ = std::make_unique<CaptureOrder>(stream_);
  return true;
}

std::unique_ptr<CapturedGraph> CudaBackend::end_capture() {
  if (!capturing_) fail("cuda: end_capture without begin_capture");
  capturing_ = false;
  const std::unique_ptr<CaptureOrder> order = std::move(order_);
  memory().end_pool();
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  cudaError_t status = order->join_others();
  if (const cudaError_t ended = cudaStreamEndCapture(stream_, &graph); status == cudaSuccess) status = ended;
  if (status == cudaSuccess) status = complete_edges(graph);
  if (status == cudaSuccess) status = cudaGraphInstantiate(&executable, graph, 0);
  if (graph != nullptr) cudaGraphDestroy(graph);
  if (status != cudaSuccess) {
    memory().drop_pool(capture_pool_);
    check(status, "capturing a graph");
  }
  return std::make_unique<CudaGraph>(*this, executable, capture_pool_);
}

}  // namespace om::cuda
