// The team of threads under tensor/cpu, and how long its threads wait.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tensor/cpu/parallel.h"
#include "tensor/cpu/patience.h"

#if defined(__linux__)
#include <sys/wait.h>
#include <unistd.h>
#endif

// The thread sanitizer's children of fork() may start no threads.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define ONEMODEL_THREAD_SANITIZER 1
#endif
#endif

namespace om {
namespace {

using cpu::Patience;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

/// Two tiles, each of which waits until both have begun: they meet only on two threads. Fails after a minute.
void expect_two_threads() {
  std::atomic<int> begun = 0;
  std::atomic<bool> late = false;
  parallel_for(2, 2, [&](std::int64_t) {
    ++begun;
    for (const auto end = Clock::now() + std::chrono::minutes(1); begun < 2 && !late;) {
      if (Clock::now() > end) late = true;
      std::this_thread::yield();
    }
  });
  EXPECT_FALSE(late) << "nobody came to help";
}

TEST(Team, EveryTileOnceWhateverTheTeam) {
  for (const int threads : {1, 2, 3, 8, 2, 5}) {
    for (const std::int64_t tiles : {0, 1, 2, 7, 1000}) {
      SCOPED_TRACE(std::to_string(threads) + " threads, " + std::to_string(tiles) + " tiles");
      std::vector<std::atomic<int>> met(static_cast<std::size_t>(tiles));
      std::atomic<int> strangers = 0;
      parallel_for(threads, tiles, [&](std::int64_t i, int member) {
        ++met[static_cast<std::size_t>(i)];
        if (member < 0 || member >= threads) ++strangers;
      });
      EXPECT_EQ(strangers, 0);
      for (const auto& count : met) ASSERT_EQ(count, 1);
    }
  }
}

TEST(Team, AsManyThreadsAsTheRegionAllows) {
  std::atomic<int> strangers = 0;
  parallel_for(8, 8, [](std::int64_t) {});  // so many there are from now on
  for (int i = 0; i < 20; ++i)
    parallel_for(2, 40, [&](std::int64_t, int member) {
      if (member < 0 || member >= 2) ++strangers;
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    });
  EXPECT_EQ(strangers, 0);
}

TEST(Team, MembersHaveTheirOwnMemory) {
  std::atomic<int> clashes = 0;
  for (int i = 0; i < 200; ++i) {
    std::atomic<int> users[4] = {};
    parallel_for(4, 64, [&](std::int64_t, int member) {
      if (++users[member] != 1) ++clashes;
      for (const auto end = Clock::now() + std::chrono::microseconds(5); Clock::now() < end;) {
      }
      --users[member];
    });
  }
  EXPECT_EQ(clashes, 0);
}

TEST(Team, PiecesCoverTheRange) {
  for (const int threads : {1, 2, 3, 70})
    for (const std::int64_t count : {0, 1, 2, 15, 16, 17, 100, 1023}) {
      std::vector<std::atomic<int>> met(static_cast<std::size_t>(count));
      parallel_pieces(threads, count, [&](std::int64_t i) { ++met[static_cast<std::size_t>(i)]; });
      for (const auto& one : met) ASSERT_EQ(one, 1) << count << " on " << threads;
    }
}

// Threads that still spin, threads that are about to sleep, and sleeping ones.
TEST(Team, ComesHoweverLongItWaited) {
  for (int i = 0; i < 60; ++i) {
    std::this_thread::sleep_for(std::chrono::microseconds(i % 20 == 0 ? 9000 : 250 * (i % 20)));
    expect_two_threads();
    if (testing::Test::HasFailure()) return;
  }
}

TEST(Team, ResultsOfARegionAreSeenAfterIt) {
  std::vector<std::int64_t> numbers(64);  // plain memory: the thread sanitizer watches
  for (std::int64_t round = 0; round < 2000; ++round) {
    parallel_for(4, 64, [&](std::int64_t i) { numbers[static_cast<std::size_t>(i)] += i + round; });
    if (round % 500 == 0) std::this_thread::sleep_for(milliseconds(6));
  }
  for (std::int64_t i = 0; i < 64; ++i)
    ASSERT_EQ(numbers[static_cast<std::size_t>(i)], 2000 * i + 2000 * 1999 / 2);
}

TEST(Team, AnExceptionEndsTheRegionAndIsThrownAgain) {
  constexpr std::int64_t kTiles = 20'000;
  for (int i = 0; i < 5; ++i) {
    std::atomic<std::int64_t> run = 0;
    const auto fails = [&] {
      parallel_for(3, kTiles, [&](std::int64_t tile) {
        ++run;
        if (tile == 10) throw std::runtime_error("tile");
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      });
    };
    EXPECT_THROW(fails(), std::runtime_error);
    EXPECT_LT(run, kTiles);
    std::atomic<int> after = 0;
    parallel_for(3, 30, [&](std::int64_t) { ++after; });
    ASSERT_EQ(after, 30);
  }
  const auto alone = [] { parallel_for(1, 4, [](std::int64_t) { throw std::runtime_error("tile"); }); };
  EXPECT_THROW(alone(), std::runtime_error);
}

TEST(Team, RegionsInsideRegionsStayOnTheirThread) {
  std::atomic<int> elsewhere = 0, run = 0;
  parallel_for(4, 16, [&](std::int64_t) {
    const auto here = std::this_thread::get_id();
    parallel_for(4, 8, [&](std::int64_t, int member) {
      ++run;
      if (std::this_thread::get_id() != here || member != 0) ++elsewhere;
    });
  });
  EXPECT_EQ(run, 16 * 8);
  EXPECT_EQ(elsewhere, 0);
  expect_two_threads();  // the next region is not taken for an inner one
}

TEST(Team, SeveralThreadsCallAtOnce) {
  std::vector<std::thread> callers;
  std::atomic<int> wrong = 0;
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([&wrong, c] {
      for (int round = 0; round < 300; ++round) {
        std::vector<int> numbers(40, -1);
        parallel_for(3, 40, [&](std::int64_t i) { numbers[static_cast<std::size_t>(i)] = c + round; });
        for (const int number : numbers) wrong += number != c + round;
      }
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

#if defined(__linux__) && !defined(ONEMODEL_THREAD_SANITIZER)
TEST(Team, AChildOfForkHasOneOfItsOwn) {
  std::atomic<bool> stop = false, other_runs = false;
  expect_two_threads();
  // In the parent another thread is amid a region.
  std::thread other([&] {
    parallel_for(2, 2, [&](std::int64_t) {
      other_runs = true;
      while (!stop) std::this_thread::yield();
    });
  });
  while (!other_runs) std::this_thread::yield();
  const pid_t child = fork();
  if (child == 0) {
    expect_two_threads();
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  stop = true;
  other.join();
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  expect_two_threads();
}
#endif

/// A thread's clocks as a test sets them.
class Clocks {
 public:
  Patience::Moment now = {1'000'000'000, 500'000'000, 3, 0};
  /// Awake for so long; of that, `lost` off the processor for another thread.
  Patience::Moment& pass(std::int64_t wall, std::int64_t lost = 0) {
    now.wall += wall;
    now.processor += wall - lost;
    now.preempted += lost > 0;
    return now;
  }
};
constexpr std::int64_t kMilli = 1'000'000;

TEST(Patience, SpinsWhereNothingIsLost) {
  Patience patience;
  Clocks clocks;
  patience.look(clocks.now);  // what was before the first look does not count
  EXPECT_EQ(patience.spin(clocks.now.wall), Patience::kMostSpin);
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(patience.due(clocks.now.wall + Patience::kWindow - 1));
    EXPECT_TRUE(patience.due(clocks.now.wall + Patience::kWindow));
    patience.look(clocks.pass(2 * kMilli, i % 10 == 0 ? 400'000 : 0));  // a daemon's moments
    ASSERT_EQ(patience.spin(clocks.now.wall), Patience::kMostSpin);
  }
}

TEST(Patience, RestsWhereAnotherHadTheProcessor) {
  Patience patience;
  Clocks clocks;
  patience.look(clocks.now);
  std::int64_t rest = Patience::kLeastRest;
  for (int i = 0; i < 8; ++i) {
    patience.look(clocks.pass(5 * kMilli, 3 * kMilli));
    EXPECT_EQ(patience.spin(clocks.now.wall), 0);
    EXPECT_EQ(patience.spin(clocks.now.wall + rest - 1), 0) << "rest " << i;
    EXPECT_GT(patience.spin(clocks.now.wall + rest), 0) << "rest " << i;
    patience.look(clocks.pass(rest));
    rest = std::min(2 * rest, Patience::kMostRest);  // the next try ends the same way
  }
  // a quiet time later it begins anew
  patience.look(clocks.pass(3 * Patience::kMostRest));
  patience.look(clocks.pass(5 * kMilli, 3 * kMilli));
  EXPECT_EQ(patience.spin(clocks.now.wall), 0);
  EXPECT_GT(patience.spin(clocks.now.wall + Patience::kLeastRest), 0);
}

TEST(Patience, WhatAThreadGivesUpItselfIsNotLost) {
  Patience patience;
  Clocks clocks;
  patience.look(clocks.now);
  Patience::Moment slept = clocks.pass(20 * kMilli, 15 * kMilli);  // it read a file meanwhile
  ++slept.slept;
  patience.look(slept);
  EXPECT_GT(patience.spin(slept.wall), 0);

  Patience::Moment host = slept;  // a virtual machine's host had it: nobody here
  host.wall += 20 * kMilli;
  host.processor += 5 * kMilli;
  patience.look(host);
  EXPECT_GT(patience.spin(host.wall), 0);

  Patience::Moment woken = host;  // asleep since the last look
  woken.wall += 20 * kMilli;
  ++woken.preempted;
  patience.woke(woken);
  woken.wall += kMilli;
  woken.processor += kMilli;
  patience.look(woken);
  EXPECT_GT(patience.spin(woken.wall), 0);
}

TEST(Patience, SpinsNoLongerThanItGains) {
  Patience patience;
  for (int i = 0; i < 100; ++i) patience.waited(Patience::kMostSpin + 1);
  EXPECT_EQ(patience.spin(1), Patience::kLeastSpin);
  patience.waited(300'000);
  EXPECT_EQ(patience.spin(1), 600'000);
  patience.waited(10'000);
  EXPECT_EQ(patience.spin(1), 600'000);
  patience.waited(Patience::kMostSpin);
  EXPECT_EQ(patience.spin(1), Patience::kMostSpin);
}

}  // namespace
}  // namespace om
