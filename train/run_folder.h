// What a training run leaves on disk.
//
//   RUN/config.json                        the resolved settings
//   RUN/inputs.json                        what tells generator and pictures apart from others (run_inputs.h)
//   RUN/plans/                             where a backend chooses among engines by timing them: what it
//   chose RUN/metrics.jsonl                      one JSON object a line; nothing in it depends on time or
//   machine RUN/checkpoints/000100.safetensors     everything that continues the run after iteration 100
//   RUN/samples/000100.png                 inputs beside their reconstructions
//   RUN/stage1.safetensors                 the model of the first of two stages, without noise heads
//   RUN/model.safetensors                  the finished model
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "train/checksum.h"

namespace om {

class RunFolder {
 public:
  explicit RunFolder(std::string path) : path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  std::string config_file() const { return path_ + "/config.json"; }
  std::string inputs_file() const { return path_ + "/inputs.json"; }
  std::string plans_folder() const { return path_ + "/plans"; }
  std::string metrics_file() const { return path_ + "/metrics.jsonl"; }
  std::string stage1_file() const { return path_ + "/stage1.safetensors"; }
  std::string model_file() const { return path_ + "/model.safetensors"; }
  std::string checkpoint_file(std::int64_t iteration) const;
  std::string samples_folder() const { return path_ + "/samples"; }
  std::string sample_file(std::int64_t iteration) const;

  /// True where a model, a checkpoint or the metrics of a finished step lie there. Settings alone are what a
  /// start that failed leaves, and block no other.
  bool holds_a_run() const;
  bool has_settings() const;
  bool has_steps() const;

  /// True while a process trains there: it holds the metrics' lock.
  bool is_trained_in() const;

  /// Makes the folders that are missing. Error naming the folder and the reason.
  void create() const;

  /// Iterations of the checkpoints there, ascending.
  std::vector<std::int64_t> checkpoints() const;
  void remove_checkpoint(std::int64_t iteration) const;
  /// Removes what a killed writer left in checkpoints/ and plans/.
  void remove_temporaries() const;

 private:
  std::string path_;
};

/// metrics.jsonl, open for appending and locked, so that one process at a time works in a run.
class MetricsLog {
 public:
  /// Makes the file where it is missing. UsageError where another process holds it.
  explicit MetricsLog(std::string path);
  ~MetricsLog();
  MetricsLog(const MetricsLog&) = delete;
  MetricsLog& operator=(const MetricsLog&) = delete;

  /// Drops every line after `iteration` (from the first line on that is broken or belongs to a later one),
  /// and with it validation and leak figure of `iteration` itself unless `with_validation`. -1 drops all.
  void cut(std::int64_t iteration, bool with_validation);

  /// Adds a line (without its newline).
  void append(std::string_view line);
  /// Waits until the lines are on the disk.
  void sync();
  /// A text that differs where the lines differ.
  std::string fingerprint() const { return sum_.text(); }

 private:
  [[noreturn]] void fail_with(const char* what) const;

  std::string path_;
  int descriptor_ = -1;
  Checksum sum_;  // of the lines
};

}  // namespace om
