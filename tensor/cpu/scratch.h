// Memory that a kernel needs while it runs, from the backend's caching allocator: a call that repeats gets
// the same block again.
#pragma once

#include <cstddef>

#include "tensor/allocator.h"

namespace om::cpu {

class Scratch {
 public:
  Scratch(CachingAllocator& memory, std::size_t bytes) : memory_(memory), data_(memory.allocate(bytes)) {}
  ~Scratch() { memory_.free(data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  CachingAllocator& memory_;
  void* data_;
};

}  // namespace om::cpu
