// What a run's folder tells of the run, read without touching it and while it may still be going on:
// settings, metrics, sample sheets, and besides them the tables and pictures that commands left in it (`eval
// --out RUN/eval`, `figure .. --out RUN/figure.png`). A folder of tables or pictures alone is read too.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "train/metrics_series.h"

namespace om {

/// Rows of a table.json that `eval` wrote: texts as they are shown, "" where there is no value; columns in
/// the file's order.
struct FoundTable {
  std::string name;  ///< the file within the folder
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
};

struct RunHistory {
  std::string folder;
  std::vector<std::pair<std::string, std::string>> settings;  ///< of config.json, in its order, as JSON
  MetricsSeries metrics;
  std::optional<std::int64_t> total;    ///< steps of all stages; unset without settings that say it
  bool finished = false;                ///< model.safetensors is there
  bool trained_in = false;              ///< a process is at work in it
  std::optional<std::int64_t> written;  ///< when metrics were last written, in seconds since 1970
  std::vector<std::pair<std::int64_t, std::string>> samples;  ///< iteration and file, ascending
  std::vector<FoundTable> tables;
  std::vector<std::string> pictures;  ///< files within the folder: PNG, sorted
  std::vector<std::string> notes;     ///< what could not be read, a line each

  /// Metrics reach the last step, whether or not the model is (still) there.
  bool all_steps_done() const { return total && metrics.last >= *total; }
};

/// Files found in a folder and in two levels of folders below it: more are not looked at.
inline constexpr std::size_t kMaxFound = 10'000;

/// InputError where the folder is missing or holds nothing of all that.
RunHistory read_run(const std::string& folder);

/// A text that differs where the run's metrics, samples or model do, or who works in it: whether to read it
/// again.
std::string state_of_run(const std::string& folder);

}  // namespace om
