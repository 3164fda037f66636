// Gradients of several ranks, summed while the backward pass goes on: each goes into the bucket that is open
// as soon as it is final, and a bucket that is full is on its way. Every rank fills the same buckets, since
// all differentiate the same graph in the same order.
//
// Nothing computes beside the last bucket, so it should be small. How large it is follows from the others:
// where as much waits in a bucket as is still to come it is full, so that towards the end of a pass each is
// half of what is left, down to an eighth of the largest.
#pragma once

#include <cstddef>
#include <vector>

#include "tensor/communicator.h"

namespace om {

/// Large enough that a launch costs little of it. An eighth of it takes about as long as a launch between
/// cards of one host.
inline constexpr std::size_t kBucketBytes = std::size_t{8} << 20;

class GradientBuckets {
 public:
  explicit GradientBuckets(Communicator& together, std::size_t bytes = kBucketBytes)
      : together_(together), bytes_(bytes) {}

  /// Bytes of all gradients that add() will get.
  void expect(std::size_t bytes) { left_ = bytes; }
  /// It is overwritten by its sum, so nothing else may live in its storage.
  void add(const Tensor& gradient);
  /// Sends what is left, with these; the backend's queue waits for all of it.
  void finish(const std::vector<Tensor>& more);

 private:
  void send();

  Communicator& together_;
  std::size_t bytes_, left_ = 0, filled_ = 0;
  std::vector<Tensor> open_;
};

}  // namespace om
