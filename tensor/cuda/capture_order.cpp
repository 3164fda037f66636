#include "tensor/cuda/capture_order.h"

#include <algorithm>

#include "tensor/cuda/check.h"
#include "tensor/cuda/cuda_backend.h"

#if CUDART_VERSION < 13000  // the same functions under their names of CUDA 12.3
#define cudaStreamGetCaptureInfo cudaStreamGetCaptureInfo_v3
#define cudaStreamUpdateCaptureDependencies cudaStreamUpdateCaptureDependencies_v2
#endif

namespace om::cuda {
namespace {

void add(std::vector<cudaGraphNode_t>& to, const std::vector<cudaGraphNode_t>& nodes) {
  for (const cudaGraphNode_t node : nodes)
    if (std::find(to.begin(), to.end(), node) == to.end()) to.push_back(node);
}

}  // namespace

bool CaptureOrder::begin() {
  if (in_kernel_) return false;
  accesses_.clear();
  waits_.clear();
  return in_kernel_ = true;
}

void CaptureOrder::split(std::uintptr_t at) {
  auto segment = segments_.upper_bound(at);
  if (segment == segments_.begin()) return;
  --segment;
  if (segment->first == at || segment->second.end <= at) return;
  Segment rest = segment->second;
  segment->second.end = at;
  segments_.emplace(at, std::move(rest));
}

void CaptureOrder::touch(const void* data, std::size_t bytes, bool writes) {
  if (data == nullptr || bytes == 0) return;
  const auto begin = reinterpret_cast<std::uintptr_t>(data), end = begin + bytes;
  split(begin);
  split(end);
  for (auto at = segments_.lower_bound(begin); at != segments_.end() && at->first < end; ++at) {
    add(waits_, at->second.writers);
    if (writes) add(waits_, at->second.readers);
  }
  accesses_.push_back({begin, end, writes});
}

void CaptureOrder::wait(bool first) {
  if (first || !waits_.empty())
    check(cudaStreamUpdateCaptureDependencies(
              stream_, waits_.empty() ? nullptr : waits_.data(), nullptr, waits_.size(),
              first ? cudaStreamSetCaptureDependencies : cudaStreamAddCaptureDependencies),
          "cudaStreamUpdateCaptureDependencies");
  waits_.clear();
}

CaptureOrder::Nodes CaptureOrder::current(cudaStream_t stream) {
  cudaStreamCaptureStatus status{};
  const cudaGraphNode_t* nodes = nullptr;
  std::size_t count = 0;
  const cudaGraphEdgeData* edges = nullptr;
  if (cudaStreamGetCaptureInfo(stream, &status, nullptr, nullptr, &nodes, &edges, &count) != cudaSuccess)
    return {};
  return {nodes, nodes + count};
}

void CaptureOrder::end() { keep(current(stream_)); }

void CaptureOrder::enter(cudaStream_t stream, cudaEvent_t event) {
  const bool first = others_.emplace(stream, event).second;
  if (first) {
    check(cudaEventRecord(event, stream_), "cudaEventRecord");
    check(cudaStreamWaitEvent(stream, event, 0), "cudaStreamWaitEvent");
  }
  if (first || !waits_.empty())
    check(cudaStreamUpdateCaptureDependencies(
              stream, waits_.empty() ? nullptr : waits_.data(), nullptr, waits_.size(),
              first ? cudaStreamSetCaptureDependencies : cudaStreamAddCaptureDependencies),
          "cudaStreamUpdateCaptureDependencies");
  waits_.clear();
}

void CaptureOrder::leave(cudaStream_t stream) { keep(current(stream)); }

cudaError_t CaptureOrder::join_others() {
  for (const auto& [stream, event] : others_) {
    cudaError_t status = cudaEventRecord(event, stream);
    if (status == cudaSuccess) status = cudaStreamWaitEvent(stream_, event, 0);
    if (status != cudaSuccess) return status;
  }
  return cudaSuccess;
}

void CaptureOrder::keep(const Nodes& last) {
  in_kernel_ = false;
  for (const Access& access : accesses_) {
    std::uintptr_t at = access.begin;
    while (at < access.end) {  // segments there are, and gaps between them
      auto segment = segments_.lower_bound(at);
      if (segment == segments_.end() || segment->first > at) {
        const std::uintptr_t end =
            segment == segments_.end() ? access.end : std::min(access.end, segment->first);
        segment = segments_.emplace(at, Segment{end, {}, {}}).first;
      }
      if (access.writes) {
        segment->second.writers = last;
        segment->second.readers.clear();
      } else {
        add(segment->second.readers, last);
      }
      at = segment->second.end;
    }
  }
  accesses_.clear();
}

template <class Reads, class Writes>
void Ordered::open(const Reads& reads, const Writes& writes) {
  if (order_ != nullptr && !order_->begin()) order_ = nullptr;
  if (order_ == nullptr) return;
  const auto bytes = [](const In& array) {
    return static_cast<std::size_t>(array.shape.elements()) * size_of(array.dtype);
  };
  for (const In& array : reads)
    if (array.data != nullptr) order_->read(array.data, bytes(array));
  for (const Out& array : writes)
    if (array.data != nullptr) order_->write(array.data, bytes(array));
  order_->wait(true);
}

Ordered::Ordered(CudaBackend& backend, std::initializer_list<In> reads, std::initializer_list<Out> writes)
    : order_(backend.order()) {
  open(reads, writes);
}

Ordered::Ordered(CudaBackend& backend, const std::vector<In>& reads, const std::vector<Out>& writes)
    : order_(backend.order()) {
  open(reads, writes);
}

Ordered::~Ordered() {
  if (order_ != nullptr) order_->end();
}

}  // namespace om::cuda
