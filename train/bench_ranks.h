// What training on several ranks takes beside training on one: the same step alone, on every rank at once
// without a word between them, and together.
//
// A round is begun by all at the same time and lasts as long as its slowest rank takes. Communication that a
// step shows is what it takes longer together than apart; by itself it takes what the same sums take with
// nothing beside them.
#pragma once

#include "train/bench.h"
#include "train/run_ranks.h"

namespace om {

struct RanksRow {
  Precision precision = Precision::fp32;
  std::int64_t batch = 1;  ///< of each rank
  int ranks = 1;
  bool replayed = false;
  Timing alone;            ///< a step, seconds: rank 0, the others idle
  Timing apart, together;  ///< on all ranks
  Timing sums;             ///< the step's sums alone
  std::size_t bytes = 0;   ///< that one rank gives to a step's sums

  double images_per_second() const { return static_cast<double>(batch) / together.median; }  ///< a rank
  /// Of the rate of a rank alone.
  double scaling() const { return alone.median / together.median; }
  double visible_share() const { return 1 - apart.median / together.median; }
  double busy_share() const { return sums.median / together.median; }
};

class RanksBench {
 public:
  /// What is passed must outlive it. Every rank makes one and calls it alike.
  RanksBench(const BenchNetworks& networks, Backend& backend, std::uint64_t seed, int runs, RunRanks& ranks,
             std::size_t bucket_bytes);
  ~RanksBench();
  RanksBench(const RanksBench&) = delete;
  RanksBench& operator=(const RanksBench&) = delete;

  /// The same figures on all ranks but for rank 0's, which are those of the slowest.
  RanksRow train(Precision precision, std::int64_t batch);
  /// The phases and sums of one step on this rank.
  std::vector<Communicator::Span> timeline(Precision precision, std::int64_t batch);

  const Autoencoder& model() const { return *model_; }
  const Lpips* lpips() const { return lpips_.get(); }

 private:
  enum class Who { first, all };
  Timing time(const std::function<void()>& body, Who who);

  Backend& backend_;
  int runs_;
  RunRanks& ranks_;
  std::size_t bucket_bytes_;
  std::unique_ptr<Autoencoder> model_;
  std::unique_ptr<Lpips> lpips_;
  RandomSource random_;
};

/// A timeline as a picture (SVG): phases above, sums over the ranks below.
std::string timeline_svg(const std::string& title, const std::vector<Communicator::Span>& spans);

}  // namespace om
