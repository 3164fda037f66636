// The program on several processes, started, watched and killed as a test wants.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "tests/examples/fixture.h"
#include "tests/examples/program.h"

namespace om::test {

/// The program in the background, with its output in files LOG.out and LOG.err.
class Started {
 public:
  /// `settings`: variables of its environment, "NAME=value".
  Started(const std::vector<std::string>& arguments, const std::string& log,
          const std::vector<std::string>& settings = {});
  ~Started();  ///< Kills it where it still runs.
  Started(const Started&) = delete;
  Started& operator=(const Started&) = delete;

  pid_t process() const { return process_; }
  /// Its ranks, in their order; empty once they are gone.
  std::vector<pid_t> ranks() const;
  bool running();
  /// The exit code, 128 + the signal where one ended it.
  int wait();
  std::string out() const;
  std::string err() const;
  /// Lines that begin with the program's name.
  std::vector<std::string> complaints() const;

 private:
  void take(int status);

  std::string log_;
  pid_t process_ = -1;
  int code_ = -1;
};

class RanksProgram : public ProgramTest {
 protected:
  void SetUp() override;  ///< Skips where ranks have no engine between processors.

  /// The words of a run of random generator and three photos, checkpoints every 3 steps; 0: without --ranks.
  static std::vector<std::string> train(const std::string& out, int iterations, int ranks,
                                        const std::vector<std::string>& more = {});
  /// Variables that make a process rank `rank` of 2 which meet at a port of this machine.
  static std::vector<std::string> rank_of_two(int rank, int port);
  static std::map<std::string, std::string> files(const std::string& out);
  /// Names of those that differ.
  static std::string difference(const std::map<std::string, std::string>& a,
                                const std::map<std::string, std::string>& b);
  static void until_it_says(Started& program, const std::string& words);
  /// A port that was free a moment ago.
  static int free_port();
};

}  // namespace om::test
