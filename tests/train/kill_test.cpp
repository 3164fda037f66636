// A run killed by SIGKILL at 20 moments and resumed ends in the bytes of one left alone.
//
// The moments: a child process counts its events (every step, and every open, write, sync and rename of every
// file) and dies at the n-th, half of the time a random while after it. The child is this program again,
// started anew: a forked one would have none of the parent's threads.
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "io/atomic_file.h"
#include "tensor/registry.h"
#include "tests/train/tiny_run.h"

namespace om {
namespace {

constexpr const char* child_test = "--gtest_filter=TrainKilled.Child";

std::atomic<std::int64_t> events = 0, die_at = -1, die_after_us = 0;

void die() { ::kill(::getpid(), SIGKILL); }

std::vector<bool> in_checkpoint;  // of each event of an undisturbed run: a checkpoint's file is being written

void event(bool of_checkpoint) {
  if (die_at < 0) in_checkpoint.push_back(of_checkpoint);
  if (++events != die_at) return;
  if (die_after_us == 0) die();
  std::thread([] {
    std::this_thread::sleep_for(std::chrono::microseconds(die_after_us.load()));
    die();
  }).detach();
}

TrainResult counted_run(const TrainConfig& config, const std::string& out, bool resume) {
  events = 0;
  atomic_file_fault = [](FileFault step, const std::string& path, std::uint64_t) {
    const bool begun = step != FileFault::open && step != FileFault::done;
    event(begun && path.find("/checkpoints/") != std::string::npos);
  };
  const TrainResult result =
      train(config, {.out = out, .resume = resume, .after_step = [](const StepReport&) { event(false); }},
            backend("cpu"));
  atomic_file_fault = nullptr;
  return result;
}

std::int64_t number_of(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? -1 : std::atoll(value);
}

/// What the child runs; nothing to do otherwise.
TEST(TrainKilled, Child) {
  const char* out = std::getenv("ONEMODEL_KILL_OUT");
  if (out == nullptr) return;
  set_threads(1);
  TrainConfig config;
  apply_json_file(config, std::getenv("ONEMODEL_KILL_CONFIG"));
  die_at = number_of("ONEMODEL_KILL_AT");
  die_after_us = number_of("ONEMODEL_KILL_AFTER_US");
  counted_run(config, out, number_of("ONEMODEL_KILL_RESUME") == 1);
}

/// True where the child died of SIGKILL.
bool run_child(const std::string& out, const std::string& config, std::int64_t at, std::int64_t after_us,
               bool resume) {
  const std::vector<std::string> settings = {"ONEMODEL_KILL_OUT=" + out, "ONEMODEL_KILL_CONFIG=" + config,
                                             "ONEMODEL_KILL_AT=" + std::to_string(at),
                                             "ONEMODEL_KILL_AFTER_US=" + std::to_string(after_us),
                                             std::string("ONEMODEL_KILL_RESUME=") + (resume ? "1" : "0")};
  std::vector<char*> environment;
  for (const std::string& setting : settings) environment.push_back(const_cast<char*>(setting.c_str()));
  for (char** inherited = environ; *inherited != nullptr; ++inherited) environment.push_back(*inherited);
  environment.push_back(nullptr);
  std::string program = "/proc/self/exe", filter = child_test, quiet = "--gtest_brief=1";
  char* arguments[] = {program.data(), filter.data(), quiet.data(), nullptr};
  pid_t child = 0;
  if (posix_spawn(&child, program.c_str(), nullptr, nullptr, arguments, environment.data()) != 0)
    return false;
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

TEST(TrainKilled, ResumesToTheSameBytes) {
  test::TinyRun tiny;
  tiny.config.iterations = 5;
  const std::string config = tiny.out("settings.json");
  const std::string json = to_json(tiny.config, true);
  write_file(config, std::as_bytes(std::span(json)));

  counted_run(tiny.config, tiny.out("whole"), false);
  const std::int64_t total = events;
  const auto whole = test::files_of(tiny.out("whole"));
  ASSERT_GT(total, 20);

  int inside = 0;  // killed between the opening and the renaming of a checkpoint
  for (std::uint32_t seed = 1; seed <= 20; ++seed) {
    std::mt19937 random(seed);
    const std::string name = tiny.out("killed" + std::to_string(seed));
    const std::int64_t at = 1 + static_cast<std::int64_t>(random() % static_cast<std::uint32_t>(total));
    const std::int64_t after = seed % 2 == 0 ? 0 : 1 + random() % 4000;
    const bool killed = run_child(name, config, at, after, false);
    EXPECT_TRUE(killed || after > 0) << "seed " << seed;
    inside += killed && after == 0 && in_checkpoint.at(static_cast<std::size_t>(at - 1));
    if (seed % 4 == 0)
      run_child(name, config, 1 + random() % static_cast<std::uint32_t>(total), 0, true);  // again
    tiny.run(name.substr(tiny.out("").size()), true);
    EXPECT_EQ(test::difference(whole, test::files_of(name)), "") << "seed " << seed << ", event " << at;
  }
  EXPECT_GE(inside, 3);
}

}  // namespace
}  // namespace om
