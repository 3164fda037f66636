// Replay: work that is done again and again on the same tensors, recorded where the backend can record.
//
//     Replay step(backend, [&] { y = network(x); });  // x a tensor that stays
//     x.assign(next);
//     step();  // y holds the result
//
// The first call runs the body as it is, so that plans, handles and optimiser state exist; the second
// records it (Backend::begin_capture) and replays; later ones only replay. Where a backend records nothing,
// every call runs the body. What the body reads has to live outside it and keep its memory, and what it
// assigns to variables outside stays valid, in the recording's own memory, and is overwritten by each
// replay. What the body does on the host (counting, drawing numbers) happens only while it runs: at the
// first two calls.
//
// A tensor's version (Storage::version) counts what the host sees, and a replay writes unseen. So tensors
// that the body writes and that something may be derived from (the parameters that a step trains;
// nn/derived.h) are named.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "tensor/tensor.h"

namespace om {

class Replay {
 public:
  /// `writes`: tensors that the body writes; each call counts as a write to them.
  Replay(Backend& backend, std::function<void()> body, std::vector<Tensor> writes = {})
      : backend_(backend), body_(std::move(body)), writes_(std::move(writes)) {}

  /// An error of the body ends the recording and is thrown on; the next call records anew.
  void operator()();

  /// Whether calls are replays by now.
  bool recorded() const { return graph_ != nullptr; }

  /// Whether a body is being recorded on this thread.
  static bool recording();
  /// For what a body reads and does not own: the recording in progress, if there is one, keeps it alive.
  static void keep(std::shared_ptr<const void> owner);

 private:
  void record();

  Backend& backend_;
  std::function<void()> body_;
  std::vector<Tensor> writes_;
  std::vector<std::shared_ptr<const void>> kept_;  // what the graph reads
  std::unique_ptr<CapturedGraph> graph_;
  bool ran_ = false;
};

}  // namespace om
