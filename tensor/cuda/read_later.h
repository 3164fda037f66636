// Where bytes land on their way to the host: pinned memory with an event, kept for the next read, since both
// are slow to make.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "tensor/backend.h"

namespace om::cuda {

class Landings : public std::enable_shared_from_this<Landings> {
 public:
  Landings() = default;
  ~Landings();
  Landings(const Landings&) = delete;
  Landings& operator=(const Landings&) = delete;

  /// Enqueues the copy.
  std::unique_ptr<PendingRead> read(const void* source, std::size_t bytes, cudaStream_t stream);

 private:
  struct Landing {
    void* data = nullptr;
    std::size_t size = 0;
    cudaEvent_t event = nullptr;
  };
  class Read;
  /// The smallest free one that holds so many bytes, else a new one.
  Landing take(std::size_t bytes);
  void give_back(const Landing& landing);
  static void end(const Landing& landing);

  std::mutex mutex_;
  std::vector<Landing> free_;
};

}  // namespace om::cuda
