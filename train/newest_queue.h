// Work for one thread from many: what people ask for by moving a slider, where only the newest position
// counts.
//
// Work of a channel (a slider of one tab) is numbered. What waits when newer work of its channel arrives is
// stale and never runs, and so is what arrives behind newer. The newest takes its predecessor's place in the
// line, so that a channel that is hurried along neither waits for ever nor keeps others waiting.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace om {

class NewestQueue {
 public:
  using Work = std::function<void()>;
  enum class Fate : std::uint8_t {
    done,
    stale,  ///< newer work of the channel came first
    full,   ///< as much waits as may
    closed
  };

  explicit NewestQueue(std::size_t most = 64) : most_(most) {}

  /// In any thread: waits for the work's end; what it throws comes out here. With an empty channel it is
  /// nobody's predecessor and always runs.
  Fate run(const std::string& channel, std::uint64_t number, Work work);

  /// How often run() was called.
  std::uint64_t asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

  /// In the one thread: runs what comes until stop(), asked several times a second, says so.
  void serve(const std::function<bool()>& stop);

  /// What waits, and what still comes, ends as closed.
  void close();

  /// Channels whose newest number is remembered; the longest unused is forgotten first.
  static constexpr std::size_t kChannels = 1000;

 private:
  struct Item {
    std::string channel;
    Work work;
    std::exception_ptr error;
    std::optional<Fate> fate;
  };
  struct Channel {
    std::uint64_t newest = 0, used = 0;
  };
  /// Under the lock: false where newer is known; else it is the newest now.
  bool note(const std::string& channel, std::uint64_t number);

  std::size_t most_;
  mutable std::mutex mutex_;
  std::condition_variable arrived_, ended_;
  std::deque<std::shared_ptr<Item>> waiting_;
  std::map<std::string, Channel> channels_;
  std::uint64_t uses_ = 0, asked_ = 0;
  bool closed_ = false;
};

}  // namespace om
