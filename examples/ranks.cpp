#include "examples/ranks.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "examples/common.h"
#include "examples/lists.h"
#include "tensor/error.h"
#include "tensor/ranks/environment.h"

namespace om {
namespace {

constexpr std::int64_t kMostRanks = 64;
/// For the main thread to notice that the run has ended, after its collectives were given up; and for what
/// it then still has to end.
constexpr auto kGrace = std::chrono::seconds(3);
constexpr unsigned kRest = 8;  // seconds

/// What started this process as a rank.
std::optional<ranks::Launch> launch_for(const std::optional<std::int64_t>& wanted) {
  if (wanted && (*wanted < 1 || *wanted > kMostRanks))
    fail<UsageError>("--ranks must lie between 1 and ", kMostRanks, ", got ", *wanted);
  std::optional<ranks::Launch> launch = ranks::launch_of([](const char* name) { return std::getenv(name); });
  if (launch && wanted && *wanted != launch->size)
    fail<UsageError>("--ranks ", *wanted, " contradicts ", launch->by, ", which started ", launch->size);
  return launch;
}

/// One rank of a run, from the hub's greeting to its end.
class RunningRank {
 public:
  RunningRank(const ranks::Launch& launch, Kept kept) : launch_(launch), kept_(std::move(kept)) {
    if (launch.rank == 0 && !launch.hub_apart) {
      ranks::Hub::Options options;
      options.ranks = launch.size;
      options.address = launch.hub;
      options.patience = patience_of_ranks();
      options.on_end = [this](const ranks::Failure& failure) {
        if (!failure.reported) complain(end_line(failure.why, kept_, true));
      };
      options.on_wait = note;
      try {
        hub_.emplace(std::move(options));
      } catch (const Error& error) {
        fail("rank 0 of ", launch.size, ": ", error.what(), " (where the ranks are to meet)");
      }
    }
    ranks::Member::Options options;
    options.rank = launch.rank;
    options.size = launch.size;
    options.hub = launch.hub;
    options.patience = patience_of_ranks();
    options.on_end = [this](const std::string& why, bool hub_lost) { end(why, hub_lost); };
    options.on_wait = note;
    member_.emplace(std::move(options));
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
    struct Leaving {
      RunningRank& rank;
      ~Leaving() {
        const std::lock_guard lock(rank.mutex_);
        rank.left_ = true;
        rank.changed_.notify_all();
      }
    };
    const Leaving leaving{*this};
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
      if (says(error.what(), false)) throw_named(error);
    }
    throw EndedElsewhere{};
  }

  /// Whether this rank is the one to say why it fails. What it had begun with the others will not end.
  bool says(const std::string& why, bool follows) {
    if (together_) together_->abort();
    return member_->report(why, follows);
  }

  /// The exception in flight; of a rank that may be on any machine with its number before it.
  [[noreturn]] void throw_named(const std::exception& error) const {
    const std::string what = error.what(), name = text("rank ", launch_.rank);
    if (launch_.hub_apart || launch_.rank == 0 || what.starts_with(name)) throw;
    if (dynamic_cast<const UsageError*>(&error) != nullptr) fail<UsageError>(name, ": ", what);
    if (dynamic_cast<const InputError*>(&error) != nullptr) fail<InputError>(name, ": ", what);
    fail(name, ": ", what);
  }

  /// In the member's thread.
  void end(const std::string& why, bool hub_lost) {
    const bool lowest = launch_.rank == (launch_.hub_apart ? 0 : 1);
    if (hub_lost && lowest) complain(end_line(why, kept_, launch_.hub_apart));
    if (Communicator* together = in_reach_) together->abort();
    ::alarm(kRest);
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, kGrace, [this] { return left_; })) ::_exit(kFailed);
  }

  ranks::Launch launch_;
  Kept kept_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool left_ = false;  // the main thread, what it did
  std::optional<ranks::Hub> hub_;
  std::optional<ranks::Member> member_;
  std::unique_ptr<Communicator> together_;
  std::atomic<Communicator*> in_reach_ = nullptr;
};

}  // namespace

std::string end_line(const std::string& why, const Kept& kept, bool here) {
  std::string rest;
  try {
    if (kept) rest = kept();
    if (kept && here && rest.empty()) rest = "no checkpoint was written";
  } catch (const Error&) {  // a folder that cannot be read
  }
  return text(why, "; the run ends", rest.empty() ? "" : ", ", rest);
}

ranks::Patience patience_of_ranks() {
  ranks::Patience patience;
  const char* word = std::getenv("ONEMODEL_RANKS_SILENCE");
  if (word == nullptr) return patience;
  const std::int64_t seconds = whole_number("ONEMODEL_RANKS_SILENCE", word);
  if (seconds < 3 || seconds > 86400)
    fail<UsageError>("ONEMODEL_RANKS_SILENCE must lie between 3 and 86400 seconds, got ", seconds);
  patience.silence = std::chrono::seconds(seconds);
  return patience;
}

Option ranks_option(std::optional<std::int64_t>& target) {
  return {"--gpus,--ranks", "N", &target,
          "Processes that share the work, one a card (default: as torchrun, Slurm or Open MPI say, else 1)"};
}

RanksWanted ranks_wanted(const std::optional<std::int64_t>& wanted) {
  const std::optional<ranks::Launch> launch = launch_for(wanted);
  if (launch) return {launch->size, std::min(launch->local_size, launch->size), launch->rank == 0};
  const int size = static_cast<int>(wanted.value_or(1));
  return {size, size, true};
}

Common share_of(const Common& common, int ranks_here) {
  Common mine = common;
  set_threads(static_cast<int>(common.threads));
  mine.threads = std::max<std::int64_t>(1, threads() / ranks_here);
  return mine;
}

int on_ranks(const std::optional<std::int64_t>& wanted, const Common& common,
             const std::function<int(Rank&)>& body, const Kept& kept) {
  const std::optional<ranks::Launch> launch = launch_for(wanted);
  if (!launch && wanted.value_or(1) > 1) return start_ranks(static_cast<int>(*wanted), kept);
  if (!launch) {
    Rank alone;
    alone.common = common;
    return body(alone);
  }
  const Common mine = share_of(common, launch->local_size);
  set_device(launch->local_rank);
  try {
    RunningRank rank(*launch, kept);
    return rank.run(mine, body);
  } catch (const ranks::RunEnded&) {  // before it began
    throw EndedElsewhere{};
  }
}

}  // namespace om
