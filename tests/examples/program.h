// Runs the program onemodel as a person would, and keeps what it said.
#pragma once

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

/// onemodel with these arguments.
ProgramRun onemodel(const std::vector<std::string>& arguments);

/// The same through a shell, "$0" "$@" standing for the program and its arguments: limits, redirections.
ProgramRun onemodel_in_shell(const std::string& script, const std::vector<std::string>& arguments);

/// Sends a signal as soon as `text` appears on stderr.
ProgramRun onemodel_interrupted(const std::vector<std::string>& arguments, const std::string& text,
                                int signal = SIGINT);

}  // namespace om::test
