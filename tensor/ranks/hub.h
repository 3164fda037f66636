// The place where the ranks of a run meet: one thread in the process that started them, or in rank 0's. It
// passes short texts between them (addresses, the NCCL id, settings), hears every rank's heartbeat, and when
// one dies, hangs or fails tells all others, so that a run ends as a whole and one line says why.
//
// No collective has a time-out: a slow checkpoint is no failure. A rank is lost when its connection ends
// without its having said so, or when nothing came of it for `silence`, though it sends something every
// second whatever its main thread does.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tensor/ranks/wire.h"

namespace om::ranks {

/// Of both ends; a test has shorter ones.
struct Patience {
  std::chrono::milliseconds rendezvous = std::chrono::minutes(5);  ///< until all ranks have come
  std::chrono::milliseconds silence = std::chrono::seconds(15);    ///< until a rank or the hub counts as hung
  std::chrono::milliseconds beat = std::chrono::seconds(1);        ///< between heartbeats
  /// What a broken collective says is a consequence; for so long its cause is waited for.
  std::chrono::milliseconds cause = std::chrono::seconds(3);
  /// Of waiting for others to come until it is said whom for, and from then on between one line and the next.
  std::chrono::milliseconds word = std::chrono::seconds(5), again = std::chrono::minutes(1);
};

/// When a wait is to be spoken of.
class Reminder {
 public:
  explicit Reminder(const Patience& patience) : patience_(patience) {}
  bool due();
  /// "5 s, 300 s at most": since it was made, and until all ranks must have come.
  std::string waited() const;

 private:
  Patience patience_;
  Deadline begun_ = Clock::now(), next_ = begun_ + patience_.word;
};

/// How a run came to its end.
struct Failure {
  int rank = -1;          ///< at fault; -1: none
  std::string why = {};   ///< one line
  bool reported = false;  ///< that rank says it itself
};

class Hub {
 public:
  struct Options {
    int ranks = 1;
    Address address = {"127.0.0.1", 0};  ///< to listen at; port 0: a free one
    Patience patience = {};
    std::function<void(const Failure&)> on_end = {};       ///< called once, in the hub's thread
    std::function<void(const std::string&)> on_wait = {};  ///< one line on who has not come; in that thread
  };
  /// Error where it cannot listen there.
  explicit Hub(Options options);
  ~Hub();
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;

  const Address& address() const { return options_.address; }
  /// Ends the run from outside: a child is gone, a signal came twice. The first reason stands.
  void end(int rank, const std::string& why);
  /// Waits until every rank is done or the run has ended, at most so long.
  void wait(std::chrono::milliseconds most);

 private:
  struct Guest;
  void serve();
  void let_in();
  void welcome_or_wait();
  void receive(Guest& guest);
  void answer(Guest& guest, const Message& message);
  void say_hello(Guest& guest, const Message& message);
  void lose(Guest& guest, const std::string& why);
  void declare(const Failure& failure, const Guest* speaker);
  void tell_where_to_stop();
  bool all_done() const;

  Options options_;
  Socket listening_;
  Socket wake_read_, wake_write_;
  std::vector<std::unique_ptr<Guest>> guests_;
  std::map<std::string, std::string> values_;
  bool welcomed_ = false, querying_ = false, told_to_stop_ = false;
  bool crowded_ = false;  // the system lets nobody in for now
  std::optional<Failure> failure_;
  std::optional<Failure> consequence_;  // waits for its cause
  Deadline consequence_until_, rendezvous_until_;
  Reminder reminder_{options_.patience};
  std::mutex mutex_;  // of what the other threads see
  std::optional<Failure> from_outside_;
  std::atomic<bool> stop_ = false, done_ = false;
  std::thread thread_;
};

}  // namespace om::ranks
