#include "examples/ranks.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <thread>

#include "examples/common.h"
#include "tensor/error.h"
#include "tensor/ranks/environment.h"

namespace om {
namespace {

constexpr std::int64_t kMostRanks = 1024;
/// For the main thread to notice that the run has ended, after its collectives were given up.
constexpr auto kGrace = std::chrono::seconds(3);

/// One rank of a run, from the hub's greeting to its end.
class RunningRank {
 public:
  explicit RunningRank(const ranks::Launch& launch) : launch_(launch) {
    if (launch.rank == 0 && !launch.hub_apart) {
      ranks::Address here = launch.hub;
      hub_.emplace(ranks::Hub::Options{
          .ranks = launch.size, .address = here, .on_end = [](const ranks::Failure& failure) {
            if (!failure.reported) complain(failure.why + "; the run ends, its checkpoints are kept");
          }});
    }
    member_.emplace(ranks::Member::Options{
        .rank = launch.rank,
        .size = launch.size,
        .hub = launch.hub,
        .on_end = [this](const std::string& why, bool hub_lost) { end(why, hub_lost); }});
  }

  int run(const Common& common, const std::function<int(Rank&)>& body) {
    Rank rank;
    rank.common = common;
    rank.member = &*member_;
    rank.connect = [this, &rank](Backend& backend) {
      together_ = make_communicator(backend, &*member_);
      in_reach_ = together_.get();
      return rank.together = together_.get();
    };
    const int code = guarded(rank, body);
    in_reach_ = nullptr;
    together_.reset();
    member_->finish();
    if (hub_) hub_->wait(std::chrono::minutes(1));
    return code;
  }

 private:
  int guarded(Rank& rank, const std::function<int(Rank&)>& body) {
    try {
      return body(rank);
    } catch (const Interrupted&) {
      if (!rank.first()) return kInterrupted;
      member_->finish();
      throw;
    } catch (const BrokenCollective& error) {
      if (says(error.what(), true)) throw;
    } catch (const std::bad_alloc&) {
      if (says("not enough memory", false)) throw;
    } catch (const std::exception& error) {
      if (says(error.what(), false)) throw;
    }
    throw EndedElsewhere{};
  }

  /// Whether this rank is the one to say why it fails. What it had begun with the others will not end.
  bool says(const std::string& why, bool follows) {
    if (together_) together_->abort();
    return member_->report(why, follows);
  }

  /// In the member's thread.
  void end(const std::string& why, bool hub_lost) {
    const bool lowest = launch_.rank == (launch_.hub_apart ? 0 : 1);
    if (hub_lost && lowest) complain(why + "; the run ends, its checkpoints are kept");
    if (Communicator* together = in_reach_) together->abort();
    std::this_thread::sleep_for(kGrace);
    ::_exit(kFailed);
  }

  ranks::Launch launch_;
  std::optional<ranks::Hub> hub_;
  std::optional<ranks::Member> member_;
  std::unique_ptr<Communicator> together_;
  std::atomic<Communicator*> in_reach_ = nullptr;
};

}  // namespace

Option ranks_option(std::optional<std::int64_t>& target) {
  return {"--gpus,--ranks", "N", &target,
          "Processes that share the work, one a card (default: as torchrun, Slurm or Open MPI say, else 1)"};
}

int on_ranks(const std::optional<std::int64_t>& wanted, const Common& common,
             const std::function<int(Rank&)>& body) {
  if (wanted && (*wanted < 1 || *wanted > kMostRanks))
    fail<UsageError>("--ranks must lie between 1 and ", kMostRanks, ", got ", *wanted);
  const std::optional<ranks::Launch> launch =
      ranks::launch_of([](const char* name) { return std::getenv(name); });
  if (launch && wanted && *wanted != launch->size)
    fail<UsageError>("--ranks ", *wanted, " contradicts ", launch->by, ", which started ", launch->size);
  if (!launch && wanted.value_or(1) > 1) return start_ranks(static_cast<int>(*wanted));
  if (!launch) {
    Rank alone;
    alone.common = common;
    return body(alone);
  }
  Common mine = common;
  set_threads(static_cast<int>(common.threads));
  mine.threads = std::max<std::int64_t>(1, threads() / launch->local_size);
  set_device(launch->local_rank);
  try {
    RunningRank rank(*launch);
    return rank.run(mine, body);
  } catch (const ranks::RunEnded&) {  // before it began
    throw EndedElsewhere{};
  }
}

}  // namespace om
