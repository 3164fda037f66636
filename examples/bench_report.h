// What `bench` prints: a table for people, or the same as JSON.
#pragma once

#include <string>
#include <vector>

#include "train/bench.h"
#include "train/bench_ranks.h"

namespace om {

struct BenchReport {
  std::string device;  ///< what the backend says of itself
  std::string model;   ///< one line on the networks
  std::vector<MachinePeaks> peaks;
  std::vector<BenchRow> rows;
};

/// Of several ranks: where they run, and their rows.
struct RanksReport {
  std::string device, model, engine;
  std::vector<RanksRow> rows;
};
std::string ranks_table(const RanksReport& report);
std::string ranks_json(const RanksReport& report);

std::string bench_table(const BenchReport& report);
std::string bench_json(const BenchReport& report);

}  // namespace om
