// A run killed by SIGKILL at 20 moments and resumed ends in the bytes of one left alone, whatever its
// strategy.
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

constexpr const char* child_test = "--gtest_filter=TrainKilled.DISABLED_Child";

std::atomic<std::int64_t> events = 0, die_at = -1, die_after_us = 0;

void die() { ::kill(::getpid(), SIGKILL); }

/// Of an undisturbed run: what each event was.
struct Event {
  std::string file;     // empty: a step was done
  bool inside = false;  // the file is begun and not yet in its place
};
std::vector<Event> course;

void event(const Event& what) {
  if (die_at < 0) course.push_back(what);
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
    event({path, step != FileFault::open && step != FileFault::done});
  };
  const TrainResult result =
      train(config, {.out = out, .resume = resume, .after_step = [](const StepReport&) { event({}); }},
            backend("cpu"));
  atomic_file_fault = nullptr;
  return result;
}

std::int64_t number_of(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? -1 : std::atoll(value);
}

/// What the child runs, and nobody else: it would have nothing to do.
TEST(TrainKilled, DISABLED_Child) {
  const char* out = std::getenv("ONEMODEL_KILL_OUT");
  ASSERT_NE(out, nullptr);
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
  const std::vector<std::string> settings = {
      "ONEMODEL_KILL_OUT=" + out,
      "ONEMODEL_KILL_CONFIG=" + config,
      "ONEMODEL_KILL_AT=" + std::to_string(at),
      "ONEMODEL_KILL_AFTER_US=" + std::to_string(after_us),
      std::string("ONEMODEL_KILL_RESUME=") + (resume ? "1" : "0"),
      "ONEMODEL_TESTS="};  // the parent's choice of tests is not the child's
  std::vector<char*> environment;
  for (const std::string& setting : settings) environment.push_back(const_cast<char*>(setting.c_str()));
  for (char** inherited = environ; *inherited != nullptr; ++inherited) environment.push_back(*inherited);
  environment.push_back(nullptr);
  std::string program = "/proc/self/exe", filter = child_test, quiet = "--gtest_brief=1",
              disabled = "--gtest_also_run_disabled_tests";
  char* arguments[] = {program.data(), filter.data(), quiet.data(), disabled.data(), nullptr};
  pid_t child = 0;
  if (posix_spawn(&child, program.c_str(), nullptr, nullptr, arguments, environment.data()) != 0)
    return false;
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/// The numbers (from 1) of the events in which a file whose path holds `name` is half written, or, with
/// `done`, of the one after which it stands.
std::vector<std::int64_t> events_of(const std::string& name, bool done = false) {
  std::vector<std::int64_t> found;
  for (std::size_t i = 0; i < course.size(); ++i)
    if (course[i].file.find(name) != std::string::npos && course[i].inside != done)
      found.push_back(static_cast<std::int64_t>(i + 1));
  return done && !found.empty() ? std::vector{found.back()} : found;
}

struct Moment {
  std::int64_t at, after_us;
};

class TrainKilledIn : public testing::TestWithParam<const char*> {};

TEST_P(TrainKilledIn, ResumesToTheSameBytes) {
  test::TinyRun tiny;
  if (GetParam() != std::string("plain")) tiny.set_strategy(GetParam());
  if (tiny.config.strategy == "plain") tiny.config.iterations = 5;
  if (tiny.config.two_stages()) tiny.config.norm_batches = 2;
  const std::string config = tiny.out("settings.json");
  const std::string json = to_json(tiny.config, true);
  write_file(config, std::as_bytes(std::span(json)));

  course.clear();
  die_at = -1;
  counted_run(tiny.config, tiny.out("whole"), false);
  const auto total = static_cast<std::uint32_t>(course.size());
  const auto whole = test::files_of(tiny.out("whole"));
  ASSERT_GT(total, 20U);

  std::vector<Moment> moments;
  const auto in_turn = [&](const std::vector<std::int64_t>& candidates, std::size_t count) {
    ASSERT_FALSE(candidates.empty());
    for (std::size_t i = 0; i < count; ++i) moments.push_back({candidates[i * candidates.size() / count], 0});
  };
  in_turn(events_of("/checkpoints/"), 3);
  if (tiny.config.two_stages()) {
    in_turn(events_of("/stage1.safetensors"), 3);
    in_turn(events_of("/stage1.safetensors", true), 1);
    in_turn(events_of("/checkpoints/000003."), 2);
    // between the stages: the first one's last checkpoint stands, no step of the second is done
    const std::int64_t between = events_of("/checkpoints/000003.", true).at(0);
    moments.push_back({between, 0});
    moments.push_back({between, 500});
    moments.push_back({between + 1, 0});  // after that step
  }
  std::mt19937 random(1);
  while (moments.size() < 20) {
    const auto at = static_cast<std::int64_t>(1 + random() % total);
    moments.push_back({at, moments.size() % 2 == 0 ? 0 : 1 + static_cast<std::int64_t>(random() % 4000)});
  }
  for (std::size_t i = 0; i < moments.size(); ++i) {
    const auto [at, after] = moments[i];
    const std::string name = "killed" + std::to_string(i);
    SCOPED_TRACE(text("moment ", i, ": event ", at, " of ", total, ", ", after, " us later"));
    EXPECT_TRUE(run_child(tiny.out(name), config, at, after, false) || after > 0);
    if (i % 4 == 0) run_child(tiny.out(name), config, 1 + random() % total, 0, true);  // and again
    tiny.run(name, true);
    EXPECT_EQ(test::difference(whole, test::files_of(tiny.out(name))), "");
  }
}

INSTANTIATE_TEST_SUITE_P(Strategies, TrainKilledIn, testing::Values("plain", "two-networks", "learning-rate"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace om
