// What a backend may say of its device's memory: it derives from DeviceMemory beside Backend
// (Backend::extension).
#pragma once

#include <cstddef>

namespace om {

class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;
  /// Bytes that the device has in all, taken or not.
  virtual std::size_t total_memory() const = 0;
};

}  // namespace om
