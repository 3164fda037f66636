// What a run's steps came to, read while later steps run: loss and norms stay on the device, and a copy is on
// its way to the host (Backend::read_later) while the next steps are enqueued. Where there is no queue it is
// there at once.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tensor/backend.h"
#include "train/training_step.h"

namespace om {

/// What is known of a step when it is enqueued.
struct EnqueuedStep {
  std::int64_t iteration = 0;  ///< of the run, this step counted
  int stage = 1;
  bool logged = true;                    ///< whether metrics.jsonl gets a line of it
  std::string rates = {};                ///< of its groups, as members of that line
  std::vector<std::string> groups = {};  ///< their names
};

/// And what it came to: sums over the batch, and each group's norm before clipping.
struct StepFigures {
  float loss = 0, mse = 0;
  std::optional<float> lpips;
  std::vector<float> norms;  ///< by group

  /// Whether loss and norms are numbers.
  bool finite() const;
};

/// The members of a step's line in metrics.jsonl.
std::string metrics_members(const EnqueuedStep& step, const StepFigures& figures);

class StepReports {
 public:
  using Take = std::function<void(const EnqueuedStep&, const StepFigures&)>;
  /// `take` gets the steps in their order; what it throws comes out of the call that brought it on, and that
  /// step is not handed over again.
  explicit StepReports(Take take) : take_(std::move(take)) {}

  /// Enqueues the reading of a step's figures, and hands over what has arrived.
  void add(EnqueuedStep step, const StepResult& result);
  /// Hands over all of them; waits.
  void drain();

  /// Steps whose figures may still be on their way after add().
  static constexpr std::size_t kMostAhead = 2;

 private:
  struct Pending {
    EnqueuedStep step;
    bool lpips;
    std::unique_ptr<PendingRead> read;
  };
  void take_first();

  Take take_;
  std::deque<Pending> pending_;
};

}  // namespace om
