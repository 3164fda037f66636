// What `bench` prints: a table for people, or the same as JSON.
#pragma once

#include <string>
#include <vector>

#include "train/bench.h"

namespace om {

struct BenchReport {
  std::string device;  ///< what the backend says of itself
  std::string model;   ///< one line on the networks
  std::vector<MachinePeaks> peaks;
  std::vector<BenchRow> rows;
};

std::string bench_table(const BenchReport& report);
std::string bench_json(const BenchReport& report);

}  // namespace om
