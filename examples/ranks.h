// A command on several ranks: `--ranks N` starts N processes of this program on this machine; torchrun, Slurm
// or Open MPI start them anywhere (tensor/ranks/environment.h). Whoever starts them, one line says why a run
// ended: the rank that failed says it, or where it could not, whoever noticed.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "examples/command.h"
#include "tensor/communicator.h"
#include "tensor/ranks/member.h"

namespace om {

/// What a rank computes with; alone: nothing but the options.
struct Rank {
  Common common;                     ///< threads divided by the ranks of this machine
  ranks::Member* member = nullptr;   ///< null: alone
  Communicator* together = nullptr;  ///< made by connect()
  int planned = 1;                   ///< ranks of a run that is only spoken of (--dry-run)
  std::function<Communicator*(Backend&)> connect = [](Backend&) -> Communicator* { return nullptr; };

  int number() const { return member == nullptr ? 0 : member->rank(); }
  int size() const { return member == nullptr ? 1 : member->size(); }
  bool first() const { return number() == 0; }
};

/// The option of a command that runs on several ranks.
Option ranks_option(std::optional<std::int64_t>& target);

/// How many ranks a command would run on.
struct RanksWanted {
  int size = 1;
  int here = 1;       ///< of them on this machine
  bool first = true;  ///< whether this process is rank 0 of those that were started already, or alone
};
/// UsageError where `wanted` makes no sense or contradicts whoever started this process.
RanksWanted ranks_wanted(const std::optional<std::int64_t>& wanted);

/// A rank's options: its share of the threads among so many on this machine.
Common share_of(const Common& common, int ranks_here);

/// What of a run's work this machine sees when it has failed: "checkpoint 6 is kept: FILE"; empty where there
/// is no checkpoint. Asked in any thread. None: of a command that keeps nothing on the way.
using Kept = std::function<std::string()>;

/// Runs `body` alone, or as the rank that this process was started as, or starts `wanted` processes and waits
/// for them. Returns an ExitCode.
int on_ranks(const std::optional<std::int64_t>& wanted, const Common& common,
             const std::function<int(Rank&)>& body, const Kept& kept = {});

/// Starts so many processes of this program with the same arguments; the first signal lets them stop at the
/// same step, a second ends them.
int start_ranks(int ranks, const Kept& kept);

/// The line on a run whose rank at fault cannot speak: "WHY; the run ends, KEPT". `here`: rank 0 works on
/// this machine, so that what is not seen is not there.
std::string end_line(const std::string& why, const Kept& kept, bool here);

/// How long the ranks wait for one another; ONEMODEL_RANKS_SILENCE: seconds until one that is not heard of
/// counts as hung (15).
ranks::Patience patience_of_ranks();

/// Another process says why the run has ended.
struct EndedElsewhere {};

}  // namespace om
