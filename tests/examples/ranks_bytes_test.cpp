// A run of several ranks through the command line, between processors and, a card each, on cards: the same
// seed and number of ranks give the same bytes, and so does a run whose ranks were killed at any moment.
// Where there are fewer than two cards those on cards are skipped, visibly.
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <random>
#include <thread>

#include "tensor/communicator.h"
#include "tensor/registry.h"
#include "tests/examples/ranks_fixture.h"

namespace om::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;
using Files = std::map<std::string, std::string>;

constexpr int kRanks = 2;

class RanksBytes : public RanksProgram, public testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    if (!on_cards()) return RanksProgram::SetUp();
    int cards = 0;
    try {
      auto* source = backend("cuda").extension<CommunicatorSource>();
      cards = source == nullptr ? 0 : source->devices();
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
    if (cards < kRanks) GTEST_SKIP() << "ranks on cards need two of them, here is " << cards;
  }

  static bool on_cards() { return GetParam() == std::string("cuda"); }
  static int steps() { return on_cards() ? 90 : 30; }

  /// Starts the run in a folder, or goes on with it.
  static std::unique_ptr<Started> run(const std::string& out) {
    std::vector<std::string> more = {"--lr", "1e-2", "--backend", GetParam()};
    if (on_cards()) more.insert(more.end(), {"--encoder-width", "4"});
    // What a card finds out about engines is the tests' own, and all runs' alike.
    return std::make_unique<Started>(train(out, steps(), kRanks, more), path(out + "-log"),
                                     std::vector<std::string>{"XDG_CACHE_HOME=" + path("cache")});
  }
  static void finish(const std::string& out) {
    const auto program = run(out);
    ASSERT_EQ(program->wait(), 0) << program->err();
  }
  /// But for what a card's backend keeps for itself.
  static Files files_of(const std::string& out) {
    Files found = files(out);
    std::erase_if(found, [](const auto& file) { return file.first.starts_with("plans/"); });
    return found;
  }
  /// What is said of a folder when a run in it has ended: its newest checkpoint, or that there is none.
  static std::string kept(const std::string& out) {
    std::string newest;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(path(out) + "/checkpoints", error))
      if (entry.path().extension() == ".safetensors") newest = std::max(newest, entry.path().string());
    if (newest.empty()) return "no checkpoint was written";
    const int step = std::stoi(std::filesystem::path(newest).stem());
    return "checkpoint " + std::to_string(step) + " is kept: " + newest;
  }
};

TEST_P(RanksBytes, AreTheSameTwiceAndAfterKillsAtAnyMoment) {
  finish("whole");
  const Files whole = files_of("whole");
  ASSERT_TRUE(whole.contains("model.safetensors"));
  // The second time nothing is found out any more: its times are those of all that follow.
  Milliseconds until_training{}, took{};
  {
    const auto begun = Clock::now();
    const auto again = run("again");
    until_it_says(*again, "2 ranks, ");
    until_training = std::chrono::duration_cast<Milliseconds>(Clock::now() - begun);
    ASSERT_EQ(again->wait(), 0) << again->err();
    took = std::chrono::duration_cast<Milliseconds>(Clock::now() - begun);
  }
  EXPECT_EQ(difference(whole, files_of("again")), "");

  std::mt19937 random(7);
  const auto part = [&](Milliseconds time) { return time * (5 + static_cast<int>(random() % 90)) / 100; };
  // Between processors each kill has a run of its own; on cards, where a start takes seconds, they meet one
  // run, each a part of its way.
  const int kills = on_cards() ? 4 : 10, runs = on_cards() ? 1 : kills;
  int killed = 0;
  for (int moment = 0; moment < kills; ++moment) {
    const std::string out = "killed" + std::to_string(moment % runs);
    const std::size_t which = static_cast<std::size_t>(moment) % kRanks;
    {
      const auto program = run(out);
      if (moment % 4 == 0) {  // while it starts
        std::this_thread::sleep_for(part(until_training));
      } else {
        until_it_says(*program, "2 ranks, ");
        std::this_thread::sleep_for(part(took - until_training) * runs / kills);
      }
      const std::vector<pid_t> ranks = program->ranks();
      const auto at = Clock::now();
      const bool there = ranks.size() == kRanks && ::kill(ranks[which], SIGKILL) == 0;
      const int code = program->wait();
      EXPECT_LT(Clock::now() - at, 30s);
      if (there && code != 0) {
        ++killed;
        EXPECT_EQ(code, 1);
        const std::vector<std::string> lines = program->complaints();
        ASSERT_EQ(lines.size(), 1U) << program->err();
        EXPECT_EQ(lines[0], "onemodel: rank " + std::to_string(which) +
                                " was killed by signal 9 (Killed); the run ends, " + kept(out));
      }
    }
    if (runs == 1 && moment + 1 < kills) continue;
    finish(out);
    EXPECT_EQ(difference(whole, files_of(out)), "") << "moment " << moment;
  }
  EXPECT_GE(killed, kills / 2) << "the run was over before it was killed";
}

INSTANTIATE_TEST_SUITE_P(On, RanksBytes, testing::Values("cpu", "cuda"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace om::test
