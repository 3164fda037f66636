// Gradients of several ranks, summed while the backward pass goes on: each goes into the bucket that is open
// as soon as it is final, and a bucket that is full is on its way. Every rank fills the same buckets, since
// all differentiate the same graph in the same order.
#pragma once

#include <cstddef>
#include <vector>

#include "tensor/communicator.h"

namespace om {

/// Large enough that a launch costs little of it, and small enough that little waits for the last one: the
/// layers of the first sizes, whose backward pass comes last, have few weights.
inline constexpr std::size_t kBucketBytes = std::size_t{8} << 20;

class GradientBuckets {
 public:
  explicit GradientBuckets(Communicator& together, std::size_t bytes = kBucketBytes)
      : together_(together), bytes_(bytes) {}

  /// It is overwritten by its sum, so nothing else may live in its storage.
  void add(const Tensor& gradient);
  /// Sends what is left, with these; the backend's queue waits for all of it.
  void finish(const std::vector<Tensor>& more);

 private:
  void send();

  Communicator& together_;
  std::size_t bytes_, filled_ = 0;
  std::vector<Tensor> open_;
};

}  // namespace om
