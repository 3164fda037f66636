// Replay: work that is done again and again on the same tensors, recorded where the backend can record.
//
//     Replay step(backend, [&] { y = network(x); });   // x a tensor that stays
//     x.assign(next); step();                          // y holds the result
//
// The first call runs the body as it is, so that plans, handles and optimiser state exist; the second records
// it (Backend::begin_capture) and replays; later ones only replay. Where a backend records nothing, every
// call runs the body. What the body reads has to live outside it and keep its memory, and what it assigns to
// variables outside stays valid, in the recording's own memory, and is overwritten by each replay. What the
// body does on the host (counting, drawing numbers) happens only while it runs: at the first two calls.
#pragma once

#include <functional>
#include <memory>

#include "tensor/backend.h"

namespace om {

class Replay {
 public:
  Replay(Backend& backend, std::function<void()> body) : backend_(backend), body_(std::move(body)) {}

  /// An error of the body ends the recording and is thrown on; the next call records anew.
  void operator()();

  /// Whether calls are replays by now.
  bool recorded() const { return graph_ != nullptr; }

 private:
  Backend& backend_;
  std::function<void()> body_;
  std::unique_ptr<CapturedGraph> graph_;
  bool ran_ = false;
};

}  // namespace om
