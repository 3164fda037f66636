// Tensor: a dense array on a backend, passed around by handle. Copying a Tensor copies the handle, not the
// numbers.
//
// Several tensors may share one storage (reshape does that); nothing else about layouts exists: tensors are
// always dense and row-major. A tensor may carry a node of the derivative graph; this floor only stores the
// pointer (autograd/ knows what it means). Each write through out() raises the storage's version, which is
// how autograd notices a kept tensor that was overwritten.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "tensor/backend.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace om {

class Node;  // autograd/node.h

/// A reference-counted block of a backend's memory.
class Storage {
 public:
  Storage(Backend& backend, std::size_t bytes);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  Backend& backend() const { return backend_; }
  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  std::uint64_t version() const { return version_; }
  void written() { ++version_; }

  /// For tests: every storage made from now on stands between two guards of this many bytes and starts out as
  /// NaN; 0 ends it. Guards are checked when a storage ends.
  static void set_guard(std::size_t bytes);
  /// Guard bytes found overwritten since the last call.
  static std::int64_t take_guard_violations();

 private:
  Backend& backend_;
  void* block_;
  void* data_;
  std::size_t bytes_;
  std::size_t guard_;
  std::uint64_t version_ = 0;
};

class Tensor {
 public:
  /// An undefined tensor: defined() is false, every other member is an error.
  Tensor() = default;

  /// Uninitialised memory.
  static Tensor empty(const Shape& shape, DType dtype, Backend& backend);
  static Tensor full(const Shape& shape, double value, DType dtype, Backend& backend);
  static Tensor zeros(const Shape& shape, DType dtype, Backend& backend) {
    return full(shape, 0, dtype, backend);
  }
  /// Copies host values of T's dtype; values.size() must be shape.elements().
  template <class T>
  static Tensor from_host(std::span<const T> values, const Shape& shape, Backend& backend) {
    return from_bytes(std::as_bytes(values), shape, dtype_of<T>, backend);
  }
  template <class T>
  static Tensor from_host(const std::vector<T>& values, const Shape& shape, Backend& backend) {
    return from_host(std::span<const T>(values), shape, backend);
  }
  /// Numbers of the host, rounded there as the kernel cast rounds: the device needs no f64. A floating dtype,
  /// or numbers that the integer dtype holds.
  static Tensor from_numbers(std::span<const double> numbers, const Shape& shape, DType dtype,
                             Backend& backend);
  static Tensor from_bytes(std::span<const std::byte> bytes, const Shape& shape, DType dtype,
                           Backend& backend);

  bool defined() const { return state_ != nullptr; }
  const Shape& shape() const { return state().shape; }
  std::int64_t size(int dimension) const { return shape()[dimension]; }
  int rank() const { return shape().rank(); }
  std::int64_t elements() const { return shape().elements(); }
  DType dtype() const { return state().dtype; }
  Backend& backend() const { return state().storage->backend(); }
  const std::shared_ptr<Storage>& storage() const { return state().storage; }
  /// Whether no other tensor or handle has this storage: to write it in place changes nobody else's numbers.
  bool sole_owner() const { return state_.use_count() == 1 && state().storage.use_count() == 1; }

  /// Uninitialised memory of this tensor's dtype and backend.
  Tensor empty_like() const { return empty(shape(), dtype(), backend()); }
  Tensor empty_like(const Shape& other) const { return empty(other, dtype(), backend()); }

  /// The same storage under another shape of as many elements, without a node (autograd's reshape records
  /// one).
  Tensor with_shape(const Shape& shape) const;
  /// The same storage and shape without a node.
  Tensor detach() const;

  /// For kernels. out() marks the storage as written.
  In in() const { return {state().storage->data(), dtype(), shape()}; }
  Out out() const {
    state().storage->written();
    return {state().storage->data(), dtype(), shape()};
  }

  /// Overwrites the numbers in place with other's (same shape and dtype; any backend).
  void assign(const Tensor& other) const;
  void fill(double value) const { backend().fill(out(), value); }

  /// All elements on the host, T being the tensor's own type. Waits for the backend.
  template <class T>
  std::vector<T> to_host() const {
    std::vector<T> values(static_cast<std::size_t>(elements()));
    copy_to_host(std::as_writable_bytes(std::span(values)), dtype_of<T>);
    return values;
  }
  /// The one element of a tensor with a single element, as double. Waits for the backend.
  double item() const;

  /// A copy on another backend (the tensor itself where it already lives there), without a node.
  Tensor to(Backend& backend) const;
  /// A copy in its own storage, without a node.
  Tensor clone() const;

  /// The derivative graph's handle; null where no gradient is wanted.
  const std::shared_ptr<Node>& node() const { return state().node; }
  void set_node(std::shared_ptr<Node> node) const { state().node = std::move(node); }
  bool requires_grad() const { return state().node != nullptr; }

 private:
  struct State {
    std::shared_ptr<Storage> storage;
    Shape shape;
    DType dtype;
    std::shared_ptr<Node> node;
  };
  explicit Tensor(std::shared_ptr<State> state) : state_(std::move(state)) {}
  State& state() const {
    if (!state_) fail("tensor: used before it was given a value");
    return *state_;
  }
  void copy_to_host(std::span<std::byte> bytes, DType dtype) const;

  std::shared_ptr<State> state_;
};

}  // namespace om
