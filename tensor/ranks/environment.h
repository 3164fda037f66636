// Which rank of how many this process is, as whoever started it says: onemodel itself (--ranks N), torchrun,
// Slurm or Open MPI, whose variables are looked for in that order (onemodel's own are torchrun's).
//
//                rank                   of                      on this machine          of
//   torchrun     RANK                   WORLD_SIZE              LOCAL_RANK               LOCAL_WORLD_SIZE
//   Slurm        SLURM_PROCID           SLURM_STEP_NUM_TASKS    SLURM_LOCALID SLURM_STEP_TASKS_PER_NODE Open
//   MPI     OMPI_COMM_WORLD_RANK   OMPI_COMM_WORLD_SIZE    OMPI_COMM_WORLD_LOCAL_RANK  .._LOCAL_SIZE
//
// The ranks meet at MASTER_ADDR:MASTER_PORT. Slurm's first node and a port that follows from the job are
// taken where those are missing; with Open MPI this machine, where all ranks are on it. A batch script of
// Slurm's without srun is one process, whatever the job has reserved.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "tensor/ranks/wire.h"

namespace om::ranks {

struct Launch {
  int rank = 0, size = 1, local_rank = 0, local_size = 1;
  Address hub;
  std::string by;          ///< "torchrun", "Slurm", "Open MPI"
  bool hub_apart = false;  ///< the hub is in the process that started us (ONEMODEL_HUB), else in rank 0's
};

/// The value of a variable; null where it is not set. getenv, or a test's.
using Lookup = std::function<const char*(const char*)>;

/// Nothing where this process was started alone. UsageError naming the variable that is missing or makes no
/// sense.
std::optional<Launch> launch_of(const Lookup& lookup);

/// The first of "node[03-05,9],other": "node03".
std::string first_node(const std::string& list);

}  // namespace om::ranks
