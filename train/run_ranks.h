// The ranks of a training run, as the run sees them: rank 0 reads and writes the run's folder and tells the
// others what they need to begin where it does; each takes its slice of the global batches.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tensor/communicator.h"
#include "train/checkpoint.h"

namespace om {

class RunRanks {
 public:
  /// Both null: the only rank.
  RunRanks(ranks::Member* member, Communicator* together);

  int rank() const { return rank_; }
  int size() const { return size_; }
  bool several() const { return size_ > 1; }
  /// Who reads and writes the run's folder.
  bool first() const { return rank_ == 0; }
  /// Null where there is but one.
  Communicator* together() const { return several() ? together_ : nullptr; }

  /// Rank 0's text, which the others pass empty.
  std::string share(const std::string& text) const;
  /// Every rank's text, in their order, on rank 0; nothing on others.
  std::vector<std::string> gather(const std::string& text);
  /// InputError where this rank's text differs from rank 0's: `what` "holds other files".
  void expect_same(const std::string& mine, const std::string& what) const;

  /// A line for rank 0, as Member has them: there before what this rank gathers or sets later.
  void tell(const std::string& about, const std::string& line) const;
  /// What came since the last call; nothing but on rank 0.
  std::vector<std::pair<std::string, std::string>> told() const;

  /// Error with the run's reason, where it has ended elsewhere.
  void check() const;
  /// Whether to stop after `done` steps. `wish`: this process was told to; all ranks stop at the same step.
  bool stops_at(std::int64_t done, bool wish) const;

  void broadcast(const std::vector<Tensor>& tensors) const;
  /// Weights, statistics and the optimiser's state of rank 0, to all.
  void broadcast(const Autoencoder& model, Adam& adam) const;
  /// Running statistics: each rank has its own of its slices, and what is shown or kept of a run is rank 0's.
  void broadcast_statistics(const Autoencoder& model) const;
  /// Counters of rank 0, to all.
  void broadcast(TrainingState& state, std::int64_t& saved) const;

 private:
  ranks::Member* member_;
  Communicator* together_;
  int rank_ = 0, size_ = 1;
  std::uint64_t gathered_ = 0;
};

}  // namespace om
