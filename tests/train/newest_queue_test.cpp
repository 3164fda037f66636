// Work of which the newest counts.
#include "train/newest_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <stdexcept>
#include <thread>
#include <vector>

namespace om::test {
namespace {

using Fate = NewestQueue::Fate;

/// A queue served by a thread, whose first piece of work holds it up until go().
class NewestQueueTest : public testing::Test {
 protected:
  NewestQueueTest() {
    held_ = ask("", 0, [this] { gate_.get_future().wait(); });
    while (!begun_) std::this_thread::yield();
  }
  ~NewestQueueTest() override {
    if (!gone_) go();
    queue_.close();
    server_.join();
  }

  std::future<Fate> ask(const std::string& channel, std::uint64_t number, NewestQueue::Work work) {
    return std::async(std::launch::async, [=, this] {
      return queue_.run(channel, number, [&] {
        begun_ = true;
        work();
      });
    });
  }
  /// Asks, and waits until it stands in the queue.
  std::future<Fate> ask_in_order(const std::string& channel, std::uint64_t number) {
    const std::uint64_t before = queue_.asked();
    auto fate =
        ask(channel, number, [this, channel, number] { ran_.push_back(channel + std::to_string(number)); });
    while (queue_.asked() == before) std::this_thread::yield();
    return fate;
  }
  void go() {
    gone_ = true;
    gate_.set_value();
  }
  /// The fate of what ends though the thread is held up; where it does not, the thread goes on and that is
  /// said.
  Fate fate_of(std::future<Fate> asked) {
    if (asked.wait_for(std::chrono::seconds(5)) == std::future_status::ready) return asked.get();
    ADD_FAILURE() << "waits for the thread";
    if (!gone_) go();
    return asked.get();
  }

  NewestQueue queue_{4};
  std::promise<void> gate_;
  std::atomic<bool> begun_ = false, gone_ = false;
  std::vector<std::string> ran_;  // by the serving thread
  std::thread server_{[this] { queue_.serve([] { return false; }); }};
  std::future<Fate> held_;
};

TEST_F(NewestQueueTest, OnlyTheNewestOfAChannelRuns) {
  auto first = ask_in_order("a", 1), second = ask_in_order("a", 2), other = ask_in_order("b", 1),
       third = ask_in_order("a", 3);
  EXPECT_EQ(fate_of(std::move(first)), Fate::stale);  // at once, not when the thread is free
  EXPECT_EQ(fate_of(std::move(second)), Fate::stale);
  if (HasFailure()) return;
  go();
  EXPECT_EQ(third.get(), Fate::done);
  EXPECT_EQ(other.get(), Fate::done);
  EXPECT_EQ(ran_, (std::vector<std::string>{"a3", "b1"}));  // in the place of its predecessors
}

TEST_F(NewestQueueTest, WhatComesBehindNewerIsStale) {
  auto newest = ask_in_order("a", 7);
  EXPECT_EQ(fate_of(ask_in_order("a", 6)), Fate::stale);
  EXPECT_EQ(fate_of(ask_in_order("a", 7)), Fate::stale);
  if (HasFailure()) return;
  go();
  EXPECT_EQ(newest.get(), Fate::done);
  EXPECT_EQ(ask_in_order("a", 5).get(), Fate::stale);  // afterwards too
  EXPECT_EQ(ask_in_order("a", 8).get(), Fate::done);
  EXPECT_EQ(ran_, (std::vector<std::string>{"a7", "a8"}));
}

TEST_F(NewestQueueTest, WithoutAChannelAllRunAsFarAsThereIsRoom) {
  std::vector<std::future<Fate>> fates;
  for (int i = 0; i < 4; ++i) fates.push_back(ask_in_order("", 0));
  EXPECT_EQ(fate_of(ask_in_order("", 0)), Fate::full);
  EXPECT_EQ(fate_of(ask_in_order("c", 1)), Fate::full);
  if (HasFailure()) return;
  go();
  for (auto& fate : fates) EXPECT_EQ(fate.get(), Fate::done);
  EXPECT_EQ(ran_.size(), 4U);
}

TEST_F(NewestQueueTest, ErrorsComeOutWhereItWasAsked) {
  go();
  EXPECT_THROW(queue_.run("a", 1, [] { throw std::runtime_error("no"); }), std::runtime_error);
  EXPECT_EQ(queue_.run("a", 2, [] {}), Fate::done);
}

TEST_F(NewestQueueTest, ClosingEndsWhatWaits) {
  auto waiting = ask_in_order("a", 1);
  queue_.close();
  EXPECT_EQ(fate_of(std::move(waiting)), Fate::closed);
  EXPECT_EQ(fate_of(ask_in_order("b", 1)), Fate::closed);
  if (HasFailure()) return;
  go();
  EXPECT_EQ(held_.get(), Fate::done);  // what ran is finished
  EXPECT_TRUE(ran_.empty());
}

TEST_F(NewestQueueTest, RemembersAThousandChannels) {
  go();
  EXPECT_EQ(queue_.run("old", 9, [] {}), Fate::done);
  for (std::size_t i = 0; i + 1 < NewestQueue::kChannels; ++i)
    EXPECT_EQ(queue_.run("c" + std::to_string(i), 9, [] {}), Fate::done);
  EXPECT_EQ(queue_.run("old", 8, [] {}), Fate::stale);
  EXPECT_EQ(queue_.run("one more", 1, [] {}), Fate::done);  // the longest unused is forgotten
  EXPECT_EQ(queue_.run("old", 8, [] {}), Fate::done);
}

}  // namespace
}  // namespace om::test
