// How a run shows that it lives: a bar on a terminal, else a plain line now and then.
//
//   [########            ]  412/1000  loss 0.1834  3.2 img/s  0:03:04 left
#pragma once

#include <chrono>
#include <cstdio>
#include <string>

#include "train/trainer.h"

namespace om {

class Progress {
 public:
  /// Writes to `stream`, a bar where it is a terminal.
  explicit Progress(std::FILE* stream = stderr);
  Progress(std::FILE* stream, bool terminal);
  ~Progress();  ///< ends the bar's line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void report(const StepReport& step);
  /// The same for any work: `done` of `total` steps, `images` more than at the last call, and words (with
  /// their own spaces behind) between the count and the pace.
  void advance(std::int64_t done, std::int64_t total, std::int64_t images, const std::string& words);
  /// A line of its own above the bar.
  void line(const std::string& text);

 private:
  using Clock = std::chrono::steady_clock;

  void clear();

  std::FILE* stream_;
  bool terminal_;
  bool drawn_ = false;
  bool started_ = false;
  Clock::time_point start_ = Clock::now(), last_;
  std::int64_t images_ = 0, steps_ = 0;
};

}  // namespace om
