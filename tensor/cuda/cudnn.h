// cuDNN's functions that convolutions need, from a library that is opened when the first of them is wanted
// (library.h), and its graph interface's objects: descriptors, tensors, pointwise operations.
//
// An operation graph is a list of operations on tensors, which are told by unique ids; what one operation
// hands to the next without storing it is a virtual tensor. The graph's heuristics suggest engine
// configurations; a plan made from one of them runs on a pack of pointers.
#pragma once

#include <cudnn.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "tensor/backend.h"
#include "tensor/library.h"

namespace om::cuda {

struct Cudnn : Library {
  Cudnn();
  decltype(&cudnnGetVersion) version = find("cudnnGetVersion");
  decltype(&cudnnGetErrorString) error_string = find("cudnnGetErrorString");
  decltype(&cudnnCreate) create = find("cudnnCreate");
  decltype(&cudnnDestroy) destroy = find("cudnnDestroy");
  decltype(&cudnnSetStream) set_stream = find("cudnnSetStream");
  decltype(&cudnnBackendCreateDescriptor) create_descriptor = find("cudnnBackendCreateDescriptor");
  decltype(&cudnnBackendDestroyDescriptor) destroy_descriptor = find("cudnnBackendDestroyDescriptor");
  decltype(&cudnnBackendSetAttribute) set_attribute = find("cudnnBackendSetAttribute");
  decltype(&cudnnBackendGetAttribute) get_attribute = find("cudnnBackendGetAttribute");
  decltype(&cudnnBackendFinalize) finalize = find("cudnnBackendFinalize");
  decltype(&cudnnBackendExecute) execute = find("cudnnBackendExecute");
};

/// The table; Error in one line where the library is missing.
const Cudnn& cudnn();

void check(cudnnStatus_t status, const char* call);

/// One of cuDNN's opaque objects: created, given attributes, finalized, read.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type) {
    check(cudnn().create_descriptor(type, &handle_), "cudnnBackendCreateDescriptor");
  }
  ~Descriptor() {
    if (handle_ != nullptr) cudnn().destroy_descriptor(handle_);
  }
  Descriptor(Descriptor&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }

  template <class T>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const T* values,
           std::int64_t count) {
    check(cudnn().set_attribute(handle_, name, type, count, values), "cudnnBackendSetAttribute");
  }
  template <class T>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const T& value) {
    set(name, type, &value, 1);
  }
  void set(cudnnBackendAttributeName_t name, const Descriptor& value) {
    set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, value.handle_);
  }
  void set(cudnnBackendAttributeName_t name, const std::vector<Descriptor>& values) {
    std::vector<cudnnBackendDescriptor_t> handles;
    for (const Descriptor& value : values) handles.push_back(value.handle_);
    set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, handles.data(), static_cast<std::int64_t>(handles.size()));
  }
  /// Reads up to `most` values; descriptors among them must exist already. Returns how many there were.
  template <class T>
  std::int64_t get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, T* values,
                   std::int64_t most) const {
    std::int64_t count = 0;
    check(cudnn().get_attribute(handle_, name, type, most, &count, values), "cudnnBackendGetAttribute");
    return std::min(count, most);
  }
  bool try_finalize() { return cudnn().finalize(handle_) == CUDNN_STATUS_SUCCESS; }
  void finalize() { check(cudnn().finalize(handle_), "cudnnBackendFinalize"); }
  cudnnBackendDescriptor_t handle() const { return handle_; }

 private:
  cudnnBackendDescriptor_t handle_ = nullptr;
};

/// A tensor [N, H, W, C] in that order in memory.
Descriptor image(std::int64_t id, DType dtype, const std::int64_t* nhwc, bool is_virtual = false);

/// y = mode(x, b) elementwise in float, b broadcasting (null: mode takes x alone); slope is relu's below 0.
Descriptor pointwise(cudnnPointwiseMode_t mode, const Descriptor& x, const Descriptor* b, const Descriptor& y,
                     double slope = 0);

/// What the heuristics suggest for a graph, best first.
std::vector<Descriptor> suggestions(const Descriptor& graph, cudnnBackendHeurMode_t mode);

/// An engine's number, its numerical notes as bits, and the knobs of a configuration.
struct Engine {
  std::int64_t number = -1;
  bool copied = false;  // of the graph whose convolution hands its result to a copy (conv_plans.h)
  bool apart = false;   // no engine at all: the convolution and its epilogue are faster as two kernels
  std::uint32_t notes = 0;
  std::vector<std::pair<std::int64_t, std::int64_t>> knobs;  // type, value
  bool has(cudnnBackendNumericalNote_t note) const { return (notes >> note & 1U) != 0; }
};
Engine engine_of(const Descriptor& configuration);

/// The configuration of that engine and knobs for a graph; Error where the engine does not take it.
Descriptor configuration_of(const Descriptor& graph, const Engine& engine);

}  // namespace om::cuda
