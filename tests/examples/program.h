// Runs the program onemodel as a person would, and keeps what it said.
#pragma once

#include <spawn.h>

#include <csignal>
#include <string>
#include <vector>

namespace om::test {

struct ProgramRun {
  int exit_code = -1;  ///< 128 + the signal where one ended it
  std::string out, err;

  /// Lines on stderr.
  std::vector<std::string> complaints() const;
};

/// For posix_spawn: the program hears the signals that end it, which a shell's background, whose tests ignore
/// them, would have it ignore too.
const posix_spawnattr_t* hearing_signals();

/// onemodel with these arguments.
ProgramRun onemodel(const std::vector<std::string>& arguments);

/// The same through a shell, "$0" "$@" standing for the program and its arguments: limits, redirections.
ProgramRun onemodel_in_shell(const std::string& script, const std::vector<std::string>& arguments);

/// As the README has every error: this exit code, nothing on stdout, and one line on stderr with `reason` in
/// it.
void expect_error(int code, const ProgramRun& run, const std::string& reason);

/// Sends a signal as soon as `text` appears on stderr.
ProgramRun onemodel_interrupted(const std::vector<std::string>& arguments, const std::string& text,
                                int signal = SIGINT);

/// A program that goes on until it is told to end.
class RunningProgram {
 public:
  explicit RunningProgram(const std::vector<std::string>& arguments);
  ~RunningProgram();  ///< Kills it where it still runs.
  RunningProgram(const RunningProgram&) = delete;
  RunningProgram& operator=(const RunningProgram&) = delete;

  int pid() const { return pid_; }
  /// What it said on stderr so far.
  std::string said() const;
  /// Waits for a text on stderr; false where it does not come within 20 seconds.
  bool says(const std::string& text) const;
  void send(int signal) const;
  /// Waits for its end; out is empty.
  ProgramRun end();

 private:
  int pid_ = 0;
  std::string log_;
};

}  // namespace om::test
