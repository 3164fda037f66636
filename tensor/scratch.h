// Memory that the kernels of one call need while they run, from the backend's caching allocator: a call that
// repeats gets the same block again. Where kernels still wait when the block is given back, the queue orders
// its reuse.
#pragma once

#include <cstddef>

#include "tensor/allocator.h"

namespace om {

class Scratch {
 public:
  Scratch(CachingAllocator& memory, std::size_t bytes) : memory_(memory), data_(memory.allocate(bytes)) {}
  ~Scratch() { memory_.free(data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void* data() const { return data_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  CachingAllocator& memory_;
  void* data_;
};

}  // namespace om
