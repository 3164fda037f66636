// Jobs in threads: results in the order in which they are asked for, errors, and an end at any moment.
#include "io/workers.h"

#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <stdexcept>

namespace om {
namespace {

class WorkersOf : public testing::TestWithParam<int> {};

TEST_P(WorkersOf, GiveEachItsResult) {
  Workers workers(GetParam());
  EXPECT_EQ(workers.threads(), GetParam());
  std::vector<Pending<int>> pending;
  std::atomic<int> runs = 0;
  for (int i = 0; i < 200; ++i)
    pending.push_back(workers.start([i, &runs] {
      ++runs;
      return i * i;
    }));
  for (int i = 199; i >= 0; --i) EXPECT_EQ(pending[static_cast<std::size_t>(i)].get(), i * i);
  EXPECT_EQ(runs, 200);
}

TEST_P(WorkersOf, HandOnErrors) {
  Workers workers(GetParam());
  Pending<int> broken = workers.start([]() -> int { throw std::runtime_error("no such file"); });
  Pending<int> whole = workers.start([] { return 7; });
  EXPECT_THROW(broken.get(), std::runtime_error);
  EXPECT_EQ(whole.get(), 7);
}

TEST_P(WorkersOf, EndWithJobsLeft) {
  std::atomic<int> runs = 0;
  std::vector<Pending<int>> pending;
  {
    Workers workers(GetParam());
    for (int i = 0; i < 50; ++i)
      pending.push_back(workers.start([&runs] {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        return ++runs;
      }));
  }
  EXPECT_LT(runs, 50);  // what none had begun was left
  for (auto& each : pending) each.get();
  EXPECT_EQ(runs, 50);
}

INSTANTIATE_TEST_SUITE_P(Threads, WorkersOf, testing::Values(0, 1, 4));

// What nobody has begun the caller does himself, at once and in his order.
TEST(Workers, WithoutAThreadWorkWhenAsked) {
  Workers workers(0);
  std::vector<int> order;
  const auto caller = std::this_thread::get_id();
  const auto job = [&](int i) {
    return workers.start([&, i] {
      EXPECT_EQ(std::this_thread::get_id(), caller);
      order.push_back(i);
      return i;
    });
  };
  Pending<int> first = job(1), second = job(2);
  EXPECT_TRUE(order.empty());
  second.get();
  first.get();
  EXPECT_EQ(order, (std::vector<int>{2, 1}));
}

TEST(Workers, HelpThemselvesWhereAllThreadsAreBusy) {
  Workers workers(1);
  std::promise<void> release;
  Pending<int> stuck = workers.start([gate = release.get_future().share()] {
    gate.wait();
    return 1;
  });
  EXPECT_EQ(workers.start([] { return 2; }).get(), 2);  // would wait for ever otherwise
  release.set_value();
  EXPECT_EQ(stuck.get(), 1);
}

}  // namespace
}  // namespace om
