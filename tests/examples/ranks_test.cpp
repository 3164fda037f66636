// train and bench on several processes: a rank that hangs, fails, comes late or is told to stop, and who says
// what of it.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>
#include <thread>

#include "tensor/ranks/wire.h"
#include "tests/examples/ranks_fixture.h"

namespace om::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

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
  const int port = free_port();
  const auto settings = [&](int rank, const std::string& rank_name, const std::string& size_name) {
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
  const int port = free_port();
  Started first(train("zero", 100'000, 0), path("first-log"), rank_of_two(0, port));
  Started second(train("zero", 100'000, 0), path("second-log"), rank_of_two(1, port));
  until_it_says(first, "2 ranks, ");
  const auto at = Clock::now();
  ::kill(first.process(), SIGKILL);
  EXPECT_EQ(second.wait(), 1);
  EXPECT_LT(Clock::now() - at, 30s);
  ASSERT_EQ(second.complaints().size(), 1U) << second.err();
  EXPECT_NE(second.complaints()[0].find("rank 1: the connection to 127.0.0.1:"), std::string::npos);
}

// Whoever comes first says after some seconds whom it waits for and where, and the run goes on when they
// come.
TEST_F(RanksProgram, WhoIsWaitedForIsSaid) {
  const int early = free_port(), late = free_port();
  Started waiting_zero(train("waited", 1, 0), path("zero-log"), rank_of_two(0, early));
  Started waiting_one(train("came", 1, 0), path("one-log"), rank_of_two(1, late));
  until_it_says(waiting_zero, " s at most)\n");
  until_it_says(waiting_one, " s at most): Connection refused\n");
  Started last_one(train("waited", 1, 0), path("last-one-log"), rank_of_two(1, early));
  Started last_zero(train("came", 1, 0), path("last-zero-log"), rank_of_two(0, late));
  for (Started* each : {&last_one, &last_zero, &waiting_zero, &waiting_one})
    EXPECT_EQ(each->wait(), 0) << each->err();
  const std::string zero = waiting_zero.err(), one = waiting_one.err();
  EXPECT_TRUE(zero.starts_with("waiting at 127.0.0.1:" + std::to_string(early) + " for rank 1 of 2 ("))
      << zero;
  EXPECT_EQ(zero.find("waiting", 1), std::string::npos) << zero;  // once
  EXPECT_TRUE(one.starts_with("rank 1 of 2: waiting for rank 0 at 127.0.0.1:" + std::to_string(late) + " ("))
      << one;
  EXPECT_EQ(one.find('\n'), one.size() - 1) << one;
  EXPECT_EQ(last_one.err(), "");
}

TEST_F(RanksProgram, APlaceThatIsTakenIsNamedWithTheRank) {
  ranks::Address taken = {"127.0.0.1", 0};
  const ranks::Socket listening = ranks::listen_at(taken);
  Started zero(train("never", 1, 0), path("zero-log"), rank_of_two(0, taken.port));
  EXPECT_EQ(zero.wait(), 1);
  EXPECT_EQ(zero.err(), "onemodel: rank 0 of 2: " + taken.text() +
                            ": cannot listen there: Address already in use (where the ranks are to meet)\n");
}

// Each rank is a descriptor of the process where they meet: as many as the system gives are taken, and where
// they are too few one line says so.
TEST_F(RanksProgram, MoreRanksThanDescriptors) {
  const ProgramRun few = onemodel_in_shell("ulimit -n 20; exec \"$0\" \"$@\"", train("crowd", 1, 24));
  EXPECT_EQ(few.exit_code, 1);
  ASSERT_EQ(few.complaints().size(), 1U) << few.err;
  EXPECT_NE(few.err.find(": cannot take the connections of 24 ranks: Too many open files\n"),
            std::string::npos)
      << few.err;
  EXPECT_EQ(onemodel_in_shell("ulimit -Sn 12; exec \"$0\" \"$@\"", train("raised", 1, 8)).exit_code, 0);
}

// One of them may be on any machine: it is named. Of those that one command started all see the same.
TEST_F(RanksProgram, AMistakeOnOneRankNamesIt) {
  const int port = free_port();
  Started zero(train("mistake", 1, 0), path("zero-log"), rank_of_two(0, port));
  Started one(train("mistake", 1, 0, {"--backend", "nothing"}), path("one-log"), rank_of_two(1, port));
  EXPECT_EQ(one.wait(), 2);
  EXPECT_EQ(zero.wait(), 1);
  ASSERT_EQ(one.complaints().size(), 1U) << one.err();
  EXPECT_TRUE(one.complaints()[0].starts_with("onemodel: rank 1: unknown backend 'nothing'")) << one.err();
  EXPECT_EQ(zero.complaints().size(), 0U) << zero.err();
}

TEST_F(RanksProgram, PicturesThatCannotBeReadAreCountedOnce) {
  std::vector<std::string> words = train("unreadable", 4, 2);
  for (std::string& word : words)
    if (word == path("photos")) word = path("mixed");
  const ProgramRun run = onemodel(words);
  EXPECT_EQ(run.exit_code, 0);
  const auto times = [&](const std::string& text) {
    int count = 0;
    for (std::size_t at = 0; (at = run.err.find(text, at)) != std::string::npos; ++at) ++count;
    return count;
  };
  EXPECT_EQ(times("broken.png: "), 1) << run.err;
  EXPECT_EQ(times("skipped 1 unreadable images\n"), 1) << run.err;
  EXPECT_EQ(times(" unreadable images"), 1) << run.err;
}

TEST_F(RanksProgram, ADryRunSpeaksOfTheRanks) {
  const ProgramRun run = onemodel(train("dry", 6, 3, {"--dry-run", "--threads", "3"}));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(run.out.starts_with(
      "ranks                      3, 2 images each in a step, 6 together; of each of them:\npeak memory "))
      << run.out;
  EXPECT_NE(run.out.find("\nsummed over ranks, a step  0.0 MiB at once\n"), std::string::npos) << run.out;
  EXPECT_NE(run.out.find("\n  copies of a part         0."), std::string::npos) << run.out;
  EXPECT_FALSE(std::filesystem::exists(path("dry")));
  // as one of those that a launcher started: rank 0 says it
  const int port = free_port();
  for (const int rank : {0, 1}) {
    Started launched(train("dry", 6, 0, {"--dry-run", "--threads", "3"}), path("dry-log"),
                     rank_of_two(rank, port));
    EXPECT_EQ(launched.wait(), 0) << launched.err();
    EXPECT_EQ(launched.out().starts_with("ranks                      2, 2 images each"), rank == 0);
    EXPECT_EQ(launched.out().empty(), rank == 1);
  }
  EXPECT_EQ(onemodel(train("dry", 6, 0, {"--dry-run", "--ranks", "0"})).exit_code, 2);
  const ProgramRun alone = onemodel(train("dry", 6, 0, {"--dry-run"}));
  EXPECT_TRUE(alone.out.starts_with("peak memory ")) << alone.out;
  EXPECT_EQ(alone.out.find("ranks"), std::string::npos) << alone.out;
}

// A bench keeps nothing on the way, and says nothing of it.
TEST_F(RanksProgram, ABenchThatDiesSaysSo) {
  Started bench({"bench", "--ranks", "2", "--size", "16", "--width", "0.05", "--no-lpips", "--batches", "1,2",
                 "--runs", "3"},
                path("bench-log"));
  until_it_says(bench, "on 2 ranks done");
  ASSERT_EQ(bench.ranks().size(), 2U);
  ::kill(bench.ranks()[0], SIGKILL);
  EXPECT_EQ(bench.wait(), 1);
  ASSERT_EQ(bench.complaints().size(), 1U) << bench.err();
  EXPECT_EQ(bench.complaints()[0], "onemodel: rank 0 was killed by signal 9 (Killed); the run ends");
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
