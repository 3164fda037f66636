// Which kernels of a recording must wait for which. A stream records its kernels as a chain, and most of them
// wait for nothing: a head beside the trunk, a style beside the layer before it. Here each kernel waits for
// those that wrote what it reads, and for those that read or wrote what it writes, by the addresses of the
// arrays; the card runs the rest side by side. Memory that was freed and given out again keeps its history,
// so that it is safe too.
//
// Every kernel of the backend opens with the line
//
//     const Ordered order(*this, {x, w}, {y});
//
// which sets what its first launch waits for; scratch memory joins in when it is taken. Within one kernel
// launches follow each other. Outside a recording nothing happens.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <initializer_list>
#include <map>
#include <vector>

#include "tensor/backend.h"

namespace om::cuda {

class CudaBackend;

class CaptureOrder {
 public:
  explicit CaptureOrder(cudaStream_t stream) : stream_(stream) {}

  /// A kernel begins, unless one is in progress: false then.
  bool begin();
  bool in_kernel() const { return in_kernel_; }
  /// It will read or write these bytes.
  void read(const void* data, std::size_t bytes) { touch(data, bytes, false); }
  void write(const void* data, std::size_t bytes) { touch(data, bytes, true); }
  /// The next launch waits for whom it must because of them: for them alone, or for the launch before too.
  void wait(bool first);
  /// The kernel's launches are recorded.
  void end();

  /// A kernel for another stream, between begin() with read() and write(), and leave(): that stream becomes
  /// part of the recording, by `event` where it is not yet, and waits for whom the kernel must, besides what
  /// it has recorded itself.
  void enter(cudaStream_t stream, cudaEvent_t event);
  void leave(cudaStream_t stream);
  /// Brings the other streams back, as a recording's end wants it.
  cudaError_t join_others();

 private:
  using Nodes = std::vector<cudaGraphNode_t>;
  /// The last who wrote these bytes, and who read them since.
  struct Segment {
    std::uintptr_t end;
    Nodes writers, readers;
  };
  struct Access {
    std::uintptr_t begin, end;
    bool writes;
  };
  void touch(const void* data, std::size_t bytes, bool writes);
  /// A segment begins at this address from now on, if one covers it.
  void split(std::uintptr_t at);
  static Nodes current(cudaStream_t stream);
  void keep(const Nodes& last);

  cudaStream_t stream_;
  std::map<cudaStream_t, cudaEvent_t> others_;
  std::map<std::uintptr_t, Segment> segments_;
  std::vector<Access> accesses_;  // of the kernel in progress
  Nodes waits_;                   // found since the last wait()
  bool in_kernel_ = false;
};

/// A kernel of the backend, from its first launch to its last.
class Ordered {
 public:
  Ordered(CudaBackend& backend, std::initializer_list<In> reads, std::initializer_list<Out> writes);
  /// One whose arrays come in lists.
  Ordered(CudaBackend& backend, const std::vector<In>& reads, const std::vector<Out>& writes);
  ~Ordered();
  Ordered(const Ordered&) = delete;
  Ordered& operator=(const Ordered&) = delete;

 private:
  template <class Reads, class Writes>
  void open(const Reads& reads, const Writes& writes);

  CaptureOrder* order_;  // null outside a recording, and in a kernel that another one calls
};

}  // namespace om::cuda
