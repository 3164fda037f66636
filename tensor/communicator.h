// Communicator: what the processes of one run, its ranks, do with arrays together. NCCL does it on cards and
// Gloo between processors; a device without an engine of its own goes through host memory and Gloo.
//
// Every rank calls the same members in the same order with arrays of the same shapes. What is asked for
// happens on a queue of the communicator's own: it begins when everything that the backend's queue held at
// the call is done, and kernels enqueued later run beside it. join() brings the two together: what the
// backend's queue gets after it sees the results. Arrays are kept alive until then; to write one in between
// is an error that nothing finds.
//
// Sums have one order: the same number of ranks gives the same bits, and all ranks get the same ones.
//
// Nothing here has a time-out. Where a rank dies the others are told elsewhere (tensor/ranks/hub.h); a
// collective whose other end is gone may throw an Error or wait until abort().
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace om {

namespace ranks {
class Member;
}

/// A collective that could not end, most likely because another rank is gone.
class BrokenCollective : public Error {
 public:
  using Error::Error;
};

class Communicator {
 public:
  Communicator(int rank, int size) : rank_(rank), size_(size) {}
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  /// For the run's header: "NCCL 2.28.9", "Gloo 0.5.0 over TCP".
  virtual std::string description() const = 0;
  /// Whether all_reduce() and join() may be part of what the backend records (Backend::begin_capture).
  virtual bool records() const { return false; }

  /// Replaces each array by its sum over the ranks. f32 or f64; those of one call may travel as one.
  virtual void all_reduce(const std::vector<Tensor>& arrays) = 0;
  /// Replaces each array, of any dtype, by that of rank `root`.
  virtual void broadcast(const std::vector<Tensor>& arrays, int root) = 0;
  /// The backend's queue waits for everything asked so far. Errors of it surface here or at the next
  /// synchronize().
  virtual void join() = 0;
  /// Waits on the host until every rank is here.
  virtual void barrier() = 0;
  /// Gives up, from any thread: calls that wait end, and what they give is nothing.
  virtual void abort() noexcept {}

  /// What happened when, for a picture of a step: from trace(true) on, each all_reduce is a span, and each
  /// mark() ends a phase of the backend's queue that began with the mark before. Recorded with the rest where
  /// the backend records. Seconds since the first mark; of the last replay.
  struct Span {
    std::string what;       ///< a phase; empty: a bucket
    std::size_t bytes = 0;  ///< of a bucket
    double begin = 0, end = 0;
  };
  virtual void trace(bool) {}
  virtual void mark(const char*) {}
  /// Waits for the backend.
  virtual std::vector<Span> traced() { return {}; }

 private:
  int rank_, size_;
};

/// Of a backend with an engine of its own (Backend::extension).
class CommunicatorSource {
 public:
  virtual ~CommunicatorSource() = default;
  virtual std::unique_ptr<Communicator> make_communicator(ranks::Member& member) = 0;
  /// Devices of its kind that this process sees.
  virtual int devices() const = 0;
};

/// Between the ranks that `member` knows, for arrays on this backend; null: the only rank. Every rank makes
/// its own at the same time. Error where the engine is missing.
std::unique_ptr<Communicator> make_communicator(Backend& backend, ranks::Member* member);

}  // namespace om
