#include "tests/examples/program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

extern char** environ;

namespace om::test {
namespace {

class Pipe {
 public:
  Pipe() {
    if (::pipe2(ends_.data(), O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  int reading() const { return ends_[0]; }
  int writing() const { return ends_[1]; }
  void close_end(int end) {
    if (ends_[end] >= 0) ::close(ends_[end]);
    ends_[end] = -1;
  }

 private:
  std::array<int, 2> ends_{-1, -1};
};

/// Reads both pipes to their ends.
void read_all(Pipe& out, Pipe& err, ProgramRun& run, pid_t child, const std::string& interrupt_at,
              int signal) {
  std::array<pollfd, 2> polled{{{out.reading(), POLLIN, 0}, {err.reading(), POLLIN, 0}}};
  bool waiting = !interrupt_at.empty();
  while (polled[0].fd >= 0 || polled[1].fd >= 0) {
    if (::poll(polled.data(), polled.size(), -1) < 0) continue;
    for (std::size_t i = 0; i < polled.size(); ++i) {
      if (polled[i].revents == 0) continue;
      std::array<char, 4096> buffer;
      const ssize_t count = ::read(polled[i].fd, buffer.data(), buffer.size());
      if (count <= 0) {
        polled[i].fd = -1;
        continue;
      }
      (i == 0 ? run.out : run.err).append(buffer.data(), static_cast<std::size_t>(count));
      if (waiting && run.err.find(interrupt_at) != std::string::npos) {
        ::kill(child, signal);
        waiting = false;
      }
    }
  }
}

ProgramRun spawn(const std::string& program, std::vector<std::string> arguments,
                 const std::string& interrupt_at, int signal = SIGINT) {
  Pipe out, err;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out.writing(), 1);
  posix_spawn_file_actions_adddup2(&actions, err.writing(), 2);
  std::vector<char*> words;
  words.reserve(arguments.size() + 1);
  for (std::string& argument : arguments) words.push_back(argument.data());
  words.push_back(nullptr);
  pid_t child = 0;
  const int error =
      ::posix_spawn(&child, program.c_str(), &actions, hearing_signals(), words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::runtime_error(program + ": " + std::strerror(error));
  out.close_end(1);
  err.close_end(1);
  ProgramRun run;
  read_all(out, err, run, child, interrupt_at, signal);
  int status = 0;
  ::waitpid(child, &status, 0);
  run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return run;
}

std::vector<std::string> joined(std::vector<std::string> words, const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

}  // namespace

const posix_spawnattr_t* hearing_signals() {
  static const posix_spawnattr_t attributes = [] {
    posix_spawnattr_t made;
    sigset_t ending;
    sigemptyset(&ending);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&ending, signal);
    posix_spawnattr_init(&made);
    posix_spawnattr_setsigdefault(&made, &ending);
    posix_spawnattr_setflags(&made, POSIX_SPAWN_SETSIGDEF);
    return made;
  }();
  return &attributes;
}

std::vector<std::string> ProgramRun::complaints() const {
  std::vector<std::string> lines;
  std::istringstream in(err);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

ProgramRun onemodel(const std::vector<std::string>& arguments) {
  return spawn(ONEMODEL_PROGRAM, joined({ONEMODEL_PROGRAM}, arguments), "");
}

ProgramRun onemodel_in_shell(const std::string& script, const std::vector<std::string>& arguments) {
  return spawn("/bin/sh", joined({"/bin/sh", "-c", script, ONEMODEL_PROGRAM}, arguments), "");
}

ProgramRun onemodel_interrupted(const std::vector<std::string>& arguments, const std::string& text,
                                int signal) {
  return spawn(ONEMODEL_PROGRAM, joined({ONEMODEL_PROGRAM}, arguments), text, signal);
}

void expect_error(int code, const ProgramRun& run, const std::string& reason) {
  EXPECT_EQ(run.exit_code, code) << run.err;
  EXPECT_EQ(run.out, "");
  EXPECT_EQ(run.complaints().size(), 1U) << run.err;
  EXPECT_TRUE(run.err.starts_with("onemodel: ")) << run.err;
  EXPECT_NE(run.err.find(reason), std::string::npos) << run.err << "expected: " << reason;
}

RunningProgram::RunningProgram(const std::vector<std::string>& arguments) {
  log_ = (std::filesystem::temp_directory_path() / "onemodel-said-XXXXXX").string();
  const int log = ::mkostemp(log_.data(), O_CLOEXEC);
  if (log < 0) throw std::runtime_error("no file " + log_);
  std::vector<std::string> words = joined({ONEMODEL_PROGRAM}, arguments);
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, log, 2);
  const int error =
      ::posix_spawn(&pid_, ONEMODEL_PROGRAM, &actions, hearing_signals(), pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(log);
  if (error != 0) throw std::runtime_error(std::string(ONEMODEL_PROGRAM) + ": " + std::strerror(error));
}

RunningProgram::~RunningProgram() {
  if (pid_ > 0) {
    send(SIGKILL);
    end();
  }
  std::filesystem::remove(log_);
}

std::string RunningProgram::said() const {
  std::ifstream in(log_, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

bool RunningProgram::says(const std::string& text) const {
  for (int i = 0; i < 2000; ++i, ::usleep(10'000))
    if (said().find(text) != std::string::npos) return true;
  return false;
}

void RunningProgram::send(int signal) const { ::kill(pid_, signal); }

ProgramRun RunningProgram::end() {
  ProgramRun run;
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = 0;
  run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  run.err = said();
  return run;
}

}  // namespace om::test
