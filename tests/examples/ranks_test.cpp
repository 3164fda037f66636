// train and bench on several processes: killed at any moment and resumed they end in the same bytes; a rank
// that hangs, fails or is told to stop ends all of them with one line.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <sstream>
#include <thread>

#include "tests/examples/fixture.h"
#include "tests/examples/program.h"

extern char** environ;

#ifdef ONEMODEL_HAS_GLOO
#define SKIP_WITHOUT_GLOO()
#else
#define SKIP_WITHOUT_GLOO() GTEST_SKIP() << "this build has no Gloo (libgloo-dev)"
#endif

namespace om::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// The program in the background, with its output in files.
class Started {
 public:
  Started(const std::vector<std::string>& arguments, const std::string& log,
          const std::vector<std::string>& settings = {})
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
    EXPECT_EQ(
        ::posix_spawn(&process_, ONEMODEL_PROGRAM, &actions, nullptr, pointers.data(), environment.data()),
        0);
    posix_spawn_file_actions_destroy(&actions);
  }
  ~Started() {
    if (process_ > 0) ::kill(process_, SIGKILL), wait();
  }
  Started(const Started&) = delete;
  Started& operator=(const Started&) = delete;

  pid_t process() const { return process_; }
  /// Its ranks, in their order; empty once they are gone.
  std::vector<pid_t> ranks() const {
    std::ifstream file("/proc/" + std::to_string(process_) + "/task/" + std::to_string(process_) +
                       "/children");
    return {std::istream_iterator<pid_t>(file), {}};
  }
  bool running() {
    int status = 0;
    if (process_ > 0 && ::waitpid(process_, &status, WNOHANG) == process_) take(status);
    return process_ > 0;
  }
  /// The exit code, 128 + the signal where one ended it.
  int wait() {
    int status = 0;
    if (process_ > 0 && ::waitpid(process_, &status, 0) == process_) take(status);
    return code_;
  }
  std::string err() const { return text_of(log_ + ".err"); }
  /// Lines that begin with the program's name.
  std::vector<std::string> complaints() const {
    std::vector<std::string> lines;
    std::istringstream in(err());
    for (std::string line; std::getline(in, line);)
      if (line.starts_with("onemodel: ")) lines.push_back(line);
    return lines;
  }

 private:
  static std::string text_of(const std::string& path) {
    std::ostringstream out;
    out << std::ifstream(path, std::ios::binary).rdbuf();
    return out.str();
  }
  void take(int status) {
    process_ = -1;
    code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  std::string log_;
  pid_t process_ = -1;
  int code_ = -1;
};

class RanksProgram : public ProgramTest {
 protected:
  void SetUp() override { SKIP_WITHOUT_GLOO(); }

  static std::vector<std::string> train(const std::string& out, int iterations, int ranks,
                                        const std::vector<std::string>& more = {}) {
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
  static std::map<std::string, std::string> files(const std::string& out) {
    std::map<std::string, std::string> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path(out)))
      if (entry.is_regular_file())
        found[std::filesystem::relative(entry.path(), path(out)).string()] = content(entry.path().string());
    return found;
  }
  static std::string difference(const std::map<std::string, std::string>& a,
                                const std::map<std::string, std::string>& b) {
    std::string names;
    for (const auto& [name, bytes] : a)
      if (!b.contains(name) || b.at(name) != bytes) names += name + ' ';
    for (const auto& [name, bytes] : b)
      if (!a.contains(name)) names += name + ' ';
    return names;
  }
  static void until_it_says(const Started& program, const std::string& words) {
    for (const auto end = Clock::now() + 60s; Clock::now() < end; std::this_thread::sleep_for(5ms))
      if (program.err().find(words) != std::string::npos) return;
    ADD_FAILURE() << "it never said '" << words << "': " << program.err();
  }
};

TEST_F(RanksProgram, KilledAtAnyMomentAndResumedEndsInTheSameBytes) {
  constexpr int kSteps = 30, kRanks = 2;
  const auto begun = Clock::now();
  ASSERT_EQ(onemodel(train("whole", kSteps, kRanks)).exit_code, 0);
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun);
  const auto whole = files("whole");
  ASSERT_TRUE(whole.contains("model.safetensors"));
  std::mt19937 random(7);
  int killed = 0;
  for (int moment = 0; moment < 10; ++moment) {
    const std::string out = "killed" + std::to_string(moment);
    {
      Started program(train(out, kSteps, kRanks), path(out + "-log"));
      std::this_thread::sleep_for(took * (5 + static_cast<int>(random() % 90)) / 100);
      const std::vector<pid_t> ranks = program.ranks();
      const std::size_t which = random() % kRanks;
      const auto at = Clock::now();
      const bool there = ranks.size() == kRanks && ::kill(ranks[which], SIGKILL) == 0;
      const int code = program.wait();
      EXPECT_LT(Clock::now() - at, 30s);
      if (there && code != 0) {
        ++killed;
        EXPECT_EQ(code, 1);
        const std::vector<std::string> lines = program.complaints();
        ASSERT_EQ(lines.size(), 1U) << program.err();
        EXPECT_EQ(lines[0], "onemodel: rank " + std::to_string(which) +
                                " was killed by signal 9 (Killed); the run ends, its checkpoints are kept");
      }
    }
    ASSERT_EQ(onemodel(train(out, kSteps, kRanks)).exit_code, 0);
    EXPECT_EQ(difference(whole, files(out)), "") << "moment " << moment;
  }
  EXPECT_GE(killed, 5) << "the run was over before it was killed";
}

TEST_F(RanksProgram, TheLaunchersDeathEndsAllRanks) {
  Started program(train("orphans", 100'000, 2), path("orphans-log"));
  until_it_says(program, "2 ranks, ");
  const std::vector<pid_t> ranks = program.ranks();
  ASSERT_EQ(ranks.size(), 2U);
  ::kill(program.process(), SIGKILL);
  program.wait();
  const auto end = Clock::now() + 30s;
  for (const pid_t rank : ranks)
    while (::kill(rank, 0) == 0 && Clock::now() < end) std::this_thread::sleep_for(10ms);
  EXPECT_LT(Clock::now(), end);
  ASSERT_EQ(program.complaints().size(), 1U) << program.err();
  EXPECT_NE(program.complaints()[0].find("rank 0: the connection to 127.0.0.1:"), std::string::npos);
}

// A rank counts as hung after 15 seconds, here after 4; so the run's end is as far from 30 as from 19 here.
TEST_F(RanksProgram, ARankThatHangsEndsAllWithin30Seconds) {
  Started program(train("hangs", 100'000, 2), path("hangs-log"), {"ONEMODEL_RANKS_SILENCE=4"});
  until_it_says(program, "2 ranks, ");
  const std::vector<pid_t> ranks = program.ranks();
  ASSERT_EQ(ranks.size(), 2U);
  const auto at = Clock::now();
  ::kill(ranks[1], SIGSTOP);
  EXPECT_EQ(program.wait(), 1);
  EXPECT_LT(Clock::now() - at, 19s);
  ASSERT_EQ(program.complaints().size(), 1U) << program.err();
  EXPECT_NE(program.complaints()[0].find("has not been heard of for 4 s"), std::string::npos);
}

TEST_F(RanksProgram, ASignalStopsAllAtOneStep) {
  for (const int signal : {SIGINT, SIGTERM}) {
    Started program(train("stopped", 100'000, 3), path("stopped-log"));
    until_it_says(program, "3 ranks, ");
    std::this_thread::sleep_for(300ms);
    ::kill(program.process(), signal);
    EXPECT_EQ(program.wait(), 130) << program.err();
    ASSERT_EQ(program.complaints().size(), 1U) << program.err();
    EXPECT_NE(program.complaints()[0].find("interrupted; to go on: onemodel train --out "),
              std::string::npos);
    EXPECT_NE(program.complaints()[0].find("--ranks 3"), std::string::npos);
  }
}

TEST_F(RanksProgram, ALossThatIsNoNumberIsOneLine) {
  const ProgramRun run = onemodel(train("nan", 10, 3, {"--lr", "1e30", "--lr-min", "1e30"}));
  EXPECT_EQ(run.exit_code, 1);
  int lines = 0;
  for (const std::string& line : run.complaints()) {
    lines += line.starts_with("onemodel: ");
    if (line.starts_with("onemodel: "))
      EXPECT_NE(line.find("the loss or its gradient is not finite"), std::string::npos) << line;
  }
  EXPECT_EQ(lines, 1) << run.err;
}

TEST_F(RanksProgram, AMistakeIsOneLineAndItsExitCode) {
  const auto lines_of = [](const ProgramRun& run) {
    int lines = 0;
    for (const std::string& line : run.complaints()) lines += line.starts_with("onemodel: ");
    return lines;
  };
  const ProgramRun missing = onemodel({"train", "--generator", path("nothing"), "--images", path("photos"),
                                       "--out", path("never"), "--ranks", "2"});
  EXPECT_EQ(missing.exit_code, 3) << missing.err;
  EXPECT_EQ(lines_of(missing), 1) << missing.err;
  const ProgramRun none = onemodel(train("never", 3, 0, {"--ranks", "0"}));
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_NE(none.err.find("--ranks must lie between 1 and 64, got 0"), std::string::npos) << none.err;
}

TEST_F(RanksProgram, LaunchersVariablesMakeTheSameRun) {
  const ProgramRun ours = onemodel(train("ours", 6, 2, {"--lr", "1e-2", "--threads", "4"}));
  ASSERT_EQ(ours.exit_code, 0);
  EXPECT_NE(ours.err.find(", 2 threads, "), std::string::npos) << ours.err;  // of 4, for each of 2
  const auto settings = [](int rank, const std::string& rank_name, const std::string& size_name) {
    const int port = 21000 + static_cast<int>(::getpid()) % 9000;
    return std::vector<std::string>{rank_name + "=" + std::to_string(rank), size_name + "=2",
                                    "MASTER_ADDR=127.0.0.1", "MASTER_PORT=" + std::to_string(port)};
  };
  const std::vector<std::pair<std::string, std::string>> launchers = {
      {"RANK", "WORLD_SIZE"},
      {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS"},
      {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"}};
  for (const auto& [rank, size] : launchers) {
    Started first(train(rank, 6, 0), path("first-log"), settings(0, rank, size));
    Started second(train(rank, 6, 0), path("second-log"), settings(1, rank, size));
    EXPECT_EQ(first.wait(), 0) << first.err();
    EXPECT_EQ(second.wait(), 0) << second.err();
    EXPECT_EQ(difference(files("ours"), files(rank)), "");
  }
  Started wrong(train("wrong", 6, 3), path("wrong-log"), settings(0, "RANK", "WORLD_SIZE"));
  EXPECT_EQ(wrong.wait(), 2);
  EXPECT_EQ(wrong.complaints().at(0), "onemodel: --ranks 3 contradicts torchrun, which started 2");
}

// Rank 0 holds the hub where a launcher started the ranks; the others end when it does.
TEST_F(RanksProgram, ARankZeroThatDiesEndsTheOthers) {
  const std::vector<std::string> place = {"WORLD_SIZE=2", "MASTER_ADDR=127.0.0.1",
                                          "MASTER_PORT=" + std::to_string(30000 + ::getpid() % 2000)};
  const auto with = [&](const char* rank) {
    std::vector<std::string> settings = place;
    settings.emplace_back(rank);
    return settings;
  };
  Started first(train("zero", 100'000, 0), path("first-log"), with("RANK=0"));
  Started second(train("zero", 100'000, 0), path("second-log"), with("RANK=1"));
  until_it_says(first, "2 ranks, ");
  const auto at = Clock::now();
  ::kill(first.process(), SIGKILL);
  EXPECT_EQ(second.wait(), 1);
  EXPECT_LT(Clock::now() - at, 30s);
  ASSERT_EQ(second.complaints().size(), 1U) << second.err();
  EXPECT_NE(second.complaints()[0].find("rank 1: the connection to 127.0.0.1:"), std::string::npos);
}

TEST_F(RanksProgram, BenchTimesRanksAndDrawsAStep) {
  const ProgramRun run =
      onemodel({"bench", "--ranks", "2", "--size", "16", "--width", "0.05", "--no-lpips", "--batches", "1",
                "--runs", "2", "--bucket-mib", "0.01", "--timeline", path("step.svg"), "--json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  for (const char* key : {"\"ranks\": 2", "\"alone\": ", "\"apart\": ", "\"together\": ", "\"sums\": ",
                          "\"scaling\": ", "\"visible_share\": ", "\"images_per_second_a_rank\": ", "Gloo "})
    EXPECT_NE(run.out.find(key), std::string::npos) << key;
  const std::string picture = content(path("step.svg"));
  EXPECT_TRUE(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
  for (const char* part : {"forward, ", "backward, ", "sums and optimiser, ", " MB, ", " buckets, "})
    EXPECT_NE(picture.find(part), std::string::npos) << part;
  EXPECT_EQ(onemodel({"bench", "--timeline", path("step.svg")}).exit_code, 2);
  // said before anything is timed
  const auto refused = [](const std::string& timeline, int code, const std::string& reason) {
    const ProgramRun bad = onemodel({"bench", "--ranks", "2", "--task", "train", "--generator",
                                     path("generator.svg"), "--timeline", timeline});
    EXPECT_EQ(bad.exit_code, code) << bad.err;
    EXPECT_NE(bad.err.find(reason), std::string::npos) << bad.err;
  };
  std::filesystem::copy_file(path("generator.safetensors"), path("generator.svg"));
  refused(path("generator.svg"), 2, "is also an input");
  refused(path("step.txt"), 2, "ends in .svg");
  refused(path("nowhere/step.svg"), 1, "cannot write");
  EXPECT_EQ(content(path("generator.svg")), content(path("generator.safetensors")));
}

}  // namespace
}  // namespace om::test
