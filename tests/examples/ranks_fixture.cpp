#include "tests/examples/ranks_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

#include "tensor/ranks/wire.h"

extern char** environ;

namespace om::test {
namespace {

std::string text_of(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path, std::ios::binary).rdbuf();
  return out.str();
}

}  // namespace

Started::Started(const std::vector<std::string>& arguments, const std::string& log,
                 const std::vector<std::string>& settings)
    : log_(log) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, (log + ".out").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawn_file_actions_addopen(&actions, 2, (log + ".err").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  std::vector<std::string> words = {ONEMODEL_PROGRAM};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers, environment;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  for (const std::string& setting : settings) environment.push_back(const_cast<char*>(setting.c_str()));
  for (char** inherited = environ; *inherited != nullptr; ++inherited) environment.push_back(*inherited);
  environment.push_back(nullptr);
  EXPECT_EQ(::posix_spawn(&process_, ONEMODEL_PROGRAM, &actions, hearing_signals(), pointers.data(),
                          environment.data()),
            0);
  posix_spawn_file_actions_destroy(&actions);
}

Started::~Started() {
  if (process_ > 0) ::kill(process_, SIGKILL), wait();
}

std::vector<pid_t> Started::ranks() const {
  std::ifstream file("/proc/" + std::to_string(process_) + "/task/" + std::to_string(process_) + "/children");
  return {std::istream_iterator<pid_t>(file), {}};
}

bool Started::running() {
  int status = 0;
  if (process_ > 0 && ::waitpid(process_, &status, WNOHANG) == process_) take(status);
  return process_ > 0;
}

int Started::wait() {
  int status = 0;
  if (process_ > 0 && ::waitpid(process_, &status, 0) == process_) take(status);
  return code_;
}

std::string Started::out() const { return text_of(log_ + ".out"); }
std::string Started::err() const { return text_of(log_ + ".err"); }

std::vector<std::string> Started::complaints() const {
  std::vector<std::string> lines;
  std::istringstream in(err());
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("onemodel: ")) lines.push_back(line);
  return lines;
}

void Started::take(int status) {
  process_ = -1;
  code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void RanksProgram::SetUp() {
#ifndef ONEMODEL_HAS_GLOO
  GTEST_SKIP() << "this build has no Gloo (libgloo-dev)";
#endif
}

std::vector<std::string> RanksProgram::train(const std::string& out, int iterations, int ranks,
                                             const std::vector<std::string>& more) {
  std::vector<std::string> words = {"train",
                                    "--generator",
                                    path("generator.safetensors"),
                                    "--images",
                                    path("photos"),
                                    "--val",
                                    path("photos"),
                                    "--out",
                                    path(out),
                                    "--iterations",
                                    std::to_string(iterations),
                                    "--batch",
                                    "2",
                                    "--checkpoint-every",
                                    "3",
                                    "--sample-every",
                                    "5",
                                    "--resume"};
  if (ranks > 0) words.insert(words.end(), {"--ranks", std::to_string(ranks)});
  if (more.empty()) words.insert(words.end(), {"--lr", "1e-2"});
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::vector<std::string> RanksProgram::rank_of_two(int rank, int port) {
  return {"RANK=" + std::to_string(rank), "WORLD_SIZE=2", "MASTER_ADDR=127.0.0.1",
          "MASTER_PORT=" + std::to_string(port)};
}

std::map<std::string, std::string> RanksProgram::files(const std::string& out) {
  std::map<std::string, std::string> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path(out)))
    if (entry.is_regular_file())
      found[std::filesystem::relative(entry.path(), path(out)).string()] = content(entry.path().string());
  return found;
}

std::string RanksProgram::difference(const std::map<std::string, std::string>& a,
                                     const std::map<std::string, std::string>& b) {
  std::string names;
  for (const auto& [name, bytes] : a)
    if (!b.contains(name) || b.at(name) != bytes) names += name + ' ';
  for (const auto& [name, bytes] : b)
    if (!a.contains(name)) names += name + ' ';
  return names;
}

void RanksProgram::until_it_says(Started& program, const std::string& words) {
  using namespace std::chrono_literals;
  for (const auto end = std::chrono::steady_clock::now() + 60s; std::chrono::steady_clock::now() < end;
       std::this_thread::sleep_for(5ms)) {
    const bool running = program.running();
    if (program.err().find(words) != std::string::npos) return;
    if (!running) break;
  }
  ADD_FAILURE() << "it never said '" << words << "': " << program.err();
}

int RanksProgram::free_port() {
  ranks::Address free = {"127.0.0.1", 0};
  const ranks::Socket taken = ranks::listen_at(free);
  return free.port;
}

}  // namespace om::test
