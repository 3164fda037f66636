// A rank's side of the hub (hub.h): one connection with a thread of its own, which hears whether the run goes
// on and says every second that this process lives.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tensor/error.h"
#include "tensor/ranks/hub.h"

namespace om::ranks {

/// What both sides must agree on before anything else.
std::string protocol(int ranks);

/// The run has ended, through another process than this one.
class RunEnded : public Error {
 public:
  using Error::Error;
};

class Member {
 public:
  struct Options {
    int rank = 0, size = 1;
    Address hub = {};
    Patience patience = {};
    /// The run has ended, and not through this rank: why, and whether the hub is what was lost. Called once,
    /// in the member's thread.
    std::function<void(const std::string& why, bool hub_lost)> on_end = {};
    /// One line on a hub that is not there, or does not answer; in the constructor.
    std::function<void(const std::string&)> on_wait = {};
  };
  /// Comes to the hub and waits until all ranks have. Error naming rank and address; RunEnded where the run
  /// ends before it began.
  explicit Member(Options options);
  ~Member();
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;

  int rank() const { return options_.rank; }
  int size() const { return options_.size; }
  /// The address of this machine that the hub sees.
  const std::string& own_host() const { return own_host_; }

  /// Texts that every rank may read. get() waits until one is there. RunEnded where it ends.
  void set(const std::string& key, const std::string& value);
  std::string get(const std::string& key);
  /// The text of rank 0, to all: the n-th call of one rank meets the n-th of every other.
  std::string share(const std::string& text);

  /// A line for rank 0, about something: what told() gives there. A rank's lines are there before any text
  /// that it sets later.
  void tell(const std::string& about, const std::string& line);
  /// Lines that have come since the last call, each after what it is about.
  std::vector<std::pair<std::string, std::string>> told();

  /// A signal came: the ranks agree where to stop, which is after the last step that one of them has begun.
  void wish_to_stop();
  /// Asked before each step, with those done: whether to stop here; else that step counts as begun. While the
  /// ranks agree no step begins; each one's thread answers for it, since its main thread may wait for another
  /// rank.
  bool stops_at(std::int64_t done);

  /// RunEnded with the run's reason where it has ended.
  void check() const;
  std::optional<std::string> failure() const;
  /// This rank fails. `follows`: because of another, as a collective does whose other end is gone. True where
  /// this rank is the one to say it.
  bool report(const std::string& why, bool follows);
  /// This rank is done; the hub no longer counts on it.
  void finish();

 private:
  void come_to_hub();
  void serve();
  void take(const Message& message);
  void end(const std::string& why, bool hub_lost);
  void send(const Message& message);

  Options options_;
  std::string own_host_, hub_;
  std::optional<Channel> channel_;
  Socket wake_read_, wake_write_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::string> values_;
  std::vector<std::pair<std::string, std::string>> told_;
  std::optional<std::string> failure_;
  std::optional<bool> verdict_;  // on what this rank reported
  std::optional<std::int64_t> stop_at_;
  std::int64_t begun_ = 0;
  bool queried_ = false, finished_ = false, stopping_ = false, wished_ = false;
  std::uint64_t shared_ = 0;
  std::thread thread_;
};

}  // namespace om::ranks
