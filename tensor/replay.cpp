#include "tensor/replay.h"

namespace om {
namespace {

thread_local std::vector<std::shared_ptr<const void>>* kept_by_recording = nullptr;

}  // namespace

bool Replay::recording() { return kept_by_recording != nullptr; }

void Replay::keep(std::shared_ptr<const void> owner) {
  if (kept_by_recording != nullptr) kept_by_recording->push_back(std::move(owner));
}

void Replay::record() {
  kept_by_recording = &kept_;
  try {
    body_();
  } catch (...) {
    kept_by_recording = nullptr;
    kept_.clear();
    try {
      backend_.end_capture();
    } catch (...) {  // a broken recording; what broke it is thrown below
    }
    throw;
  }
  kept_by_recording = nullptr;
  graph_ = backend_.end_capture();
}

void Replay::operator()() {
  if (!graph_ && ran_ && backend_.begin_capture()) record();
  if (graph_) {
    graph_->replay();
  } else {
    body_();
    ran_ = true;
  }
  for (const Tensor& tensor : writes_) tensor.storage()->written();
}

}  // namespace om
