#include "tensor/ranks/environment.h"

#include <charconv>
#include <cstring>

#include "tensor/error.h"

namespace om::ranks {
namespace {

struct Names {
  const char *by, *rank, *size, *local_rank, *local_size;
};
constexpr Names kLaunchers[] = {
    {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"},
    {"Slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"},
    {"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
     "OMPI_COMM_WORLD_LOCAL_SIZE"}};

constexpr int kMostRanks = 65536;

/// "4(x2)" of Slurm's counts is 4; -1 where it is no number.
int number(const char* word) {
  int value = -1;
  const char* end = word + std::strlen(word);
  const auto [rest, error] = std::from_chars(word, end, value);
  return error == std::errc() && (rest == end || *rest == '(' || *rest == ',') ? value : -1;
}

int number_of(const Lookup& lookup, const char* name, int low, int high) {
  const char* word = lookup(name);
  const int value = number(word);
  if (value < low || value > high)
    fail<UsageError>(name, " expects a number from ", low, " to ", high, ", got '", word, "'");
  return value;
}

/// A port that all ranks of a job know and two jobs of a machine seldom share.
int port_of(const std::string& job) {
  std::uint32_t hash = 2166136261U;  // FNV-1a
  for (const char c : job) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return 20000 + static_cast<int>(hash % 12000);
}

}  // namespace

std::string first_node(const std::string& list) {
  const std::size_t bracket = list.find('['), comma = list.find(',');
  if (bracket == std::string::npos || comma < bracket) return list.substr(0, comma);
  const std::size_t end = list.find_first_of(",-]", bracket);
  return list.substr(0, bracket) + list.substr(bracket + 1, end - bracket - 1);
}

std::optional<Launch> launch_of(const Lookup& lookup) {
  const auto value = [&](const char* name) {
    const char* word = lookup(name);
    return std::string(word == nullptr ? "" : word);
  };
  for (const Names& names : kLaunchers) {
    if (value(names.rank).empty() || value(names.size).empty()) continue;
    Launch launch;
    launch.by = names.by;
    launch.size = number_of(lookup, names.size, 1, kMostRanks);
    launch.rank = number_of(lookup, names.rank, 0, launch.size - 1);
    launch.local_rank = launch.rank;
    launch.local_size = launch.size;
    if (!value(names.local_rank).empty())
      launch.local_rank = number_of(lookup, names.local_rank, 0, kMostRanks);
    if (!value(names.local_size).empty())
      launch.local_size = number_of(lookup, names.local_size, 1, kMostRanks);
    if (launch.size == 1) return std::nullopt;
    launch.hub_apart = !value("ONEMODEL_HUB").empty();
    launch.hub.host = value("MASTER_ADDR");
    if (launch.hub.host.empty() && launch.by == "Slurm")
      launch.hub.host = first_node(value("SLURM_STEP_NODELIST"));
    const bool here = launch.local_size == launch.size;
    if (launch.hub.host.empty() && launch.by == "Open MPI" && here) launch.hub.host = "127.0.0.1";
    if (launch.hub.host.empty())
      fail<UsageError>("MASTER_ADDR is missing: ", launch.by, " says that this is rank ", launch.rank, " of ",
                       launch.size, ", not where they meet");
    if (!value("MASTER_PORT").empty()) {
      launch.hub.port = number_of(lookup, "MASTER_PORT", 1, 65535);
    } else {
      std::string job;
      if (launch.by == "Slurm") job = value("SLURM_JOB_ID") + '.' + value("SLURM_STEP_ID");
      if (launch.by == "Open MPI")
        job = value("PMIX_NAMESPACE").empty() ? value("OMPI_MCA_ess_base_jobid") : value("PMIX_NAMESPACE");
      if (job.empty() || job == ".")
        fail<UsageError>("MASTER_PORT is missing: the port at ", launch.hub.host, " where the ranks meet");
      launch.hub.port = port_of(job);
    }
    return launch;
  }
  return std::nullopt;
}

}  // namespace om::ranks
