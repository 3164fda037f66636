// One OpenCL device with its one in-order queue, and the kernels compiled for it.
//
// A kernel is told by its source (a file of tensor/opencl/kernels), the dtype that source was compiled for,
// and its name. It is compiled when first launched; compiled programs are kept on disk (programs.h). A launch
// sets the arguments and enqueues, under a mutex: kernel objects hold their arguments.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>

#include "tensor/backend.h"
#include "tensor/opencl/api.h"

namespace om::opencl {

/// A kernel of a source. `type` says how that source was compiled: a dtype, or for the sources that only move
/// (move.cl, index.cl) an element's size.
struct KernelName {
  const char* source;
  const char* type;
  std::string kernel;
};

/// How many work items, and how many of them make a group. Kernels check their index against their sizes, so
/// the numbers of items are rounded up to whole groups.
struct Range {
  std::array<std::int64_t, 3> items{1, 1, 1};
  std::array<std::int64_t, 3> group{1, 1, 1};
};

/// While one lives, its thread launches nothing. What is left of a kernel is the scratch memory that it takes
/// (tensor/dry.h).
class DeviceAtRest {
 public:
  DeviceAtRest() : before_(std::exchange(resting, true)) {}
  ~DeviceAtRest() { resting = before_; }
  DeviceAtRest(const DeviceAtRest&) = delete;
  DeviceAtRest& operator=(const DeviceAtRest&) = delete;

  static inline constinit thread_local bool resting = false;

 private:
  bool before_;
};

class Device {
 public:
  /// The device that ONEMODEL_OPENCL_DEVICE names (a part of "platform: device"), else the first GPU, else
  /// the first of any kind. Error where there is none, or where it has no shared virtual memory.
  Device();
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const std::string& description() const { return description_; }
  bool has_f64() const { return has_f64_; }
  bool is_processor() const { return is_processor_; }
  std::int64_t units() const { return units_; }
  std::size_t total_memory() const { return total_memory_; }

  void* allocate(std::size_t bytes);
  void release(void* pointer);
  /// Host memory on either side, or the device's; waits where asked to.
  void copy(void* destination, const void* source, std::size_t bytes, bool wait);
  void finish();

  /// n work items in a line. Nothing is launched for 0.
  Range line(std::int64_t n) const { return {{n, 1, 1}, {is_processor_ ? 256 : 128, 1, 1}}; }

  /// Pointers are arrays of the device; everything else is passed as it is.
  template <class... Arguments>
  void run(const KernelName& name, const Range& range, const Arguments&... arguments) {
    if (DeviceAtRest::resting) return;
    for (const std::int64_t items : range.items)
      if (items == 0) return;
    const std::lock_guard lock(mutex_);
    const cl_kernel kernel = find(name);
    cl_uint position = 0;
    (set(kernel, position++, arguments), ...);
    enqueue(kernel, name, range);
  }

 private:
  template <class T>
  void set(cl_kernel kernel, cl_uint position, const T& argument) {
    if constexpr (!std::is_pointer_v<T>)
      check(cl_.set_argument(kernel, position, sizeof argument, &argument), "clSetKernelArg");
    else if (argument == nullptr)  // an array of no elements
      check(cl_.set_argument(kernel, position, sizeof(cl_mem), nullptr), "clSetKernelArg");
    else
      check(cl_.set_pointer(kernel, position, argument), "clSetKernelArgSVMPointer");
  }
  cl_kernel find(const KernelName& name);
  void enqueue(cl_kernel kernel, const KernelName& name, const Range& range);

  const Api& cl_;
  cl_device_id device_ = nullptr;
  cl_context context_ = nullptr;
  cl_command_queue queue_ = nullptr;
  std::string description_, identity_;  // identity_: what compiled programs depend on
  bool has_f64_ = false, is_processor_ = false;
  std::int64_t units_ = 1;
  std::size_t total_memory_ = 0;
  std::mutex mutex_;
  std::map<std::string, cl_program> programs_;
  std::map<std::string, cl_kernel> kernels_;
};

}  // namespace om::opencl
