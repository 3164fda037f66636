#include "tensor/replay.h"

namespace om {

void Replay::operator()() {
  if (graph_) return graph_->replay();
  if (!ran_ || !backend_.begin_capture()) {
    body_();
    ran_ = true;
    return;
  }
  try {
    body_();
  } catch (...) {
    try {
      backend_.end_capture();
    } catch (...) {  // a broken recording; what broke it is thrown below
    }
    throw;
  }
  graph_ = backend_.end_capture();
  graph_->replay();
}

}  // namespace om
