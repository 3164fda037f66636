// Messages between the processes of one run, over TCP. A message is a header of four numbers and two texts;
// a channel holds what has come of one and what is still to be sent of another, so partial reads and writes
// are its everyday. Every wait has a deadline, and every error is one line with the address in it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "tensor/error.h"

namespace om::ranks {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;

enum class Kind : std::uint32_t {
  hello = 1,  ///< to the hub: number is the rank, key the protocol and size, body who it is
  welcome,    ///< all have come
  refuse,     ///< body says why
  set,        ///< key, body
  get,        ///< key
  value,      ///< key, body
  beat,       ///< alive
  failed,     ///< to the hub: body is the reason; number 1 where it follows from another's failure
  speak,      ///< the first to fail: say it
  silent,     ///< another one says it
  finished,   ///< to the hub: this rank is done, its connection may end
  end,        ///< the run has failed: body says why
  wish_stop,  ///< to the hub: a signal came
  query,      ///< how far are you?
  at,         ///< to the hub: number steps are begun
  stop_at,    ///< stop when number steps are done
  tell        ///< through the hub to rank 0: number is who tells it, key what it is about, body a line
};

/// What came is no message of a run.
class NoMessage : public Error {
 public:
  using Error::Error;
};

struct Message {
  Kind kind = Kind::beat;
  std::int64_t number = 0;
  std::string key = {}, body = {};
};

struct Address {
  std::string host;
  int port = 0;
  std::string text() const;  ///< "host:port", "[::1]:port"
};

/// A file descriptor that closes itself.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  ~Socket() { close(); }
  Socket(Socket&& other) noexcept : descriptor_(other.release()) {}
  Socket& operator=(Socket&& other) noexcept;
  int get() const { return descriptor_; }
  bool open() const { return descriptor_ >= 0; }
  void close();

 private:
  int release();
  int descriptor_ = -1;
};

/// Listens at an address; port 0 takes a free one, which `address` then names. Error naming the address.
Socket listen_at(Address& address);
/// Connects, again and again until the deadline: who listens may come later. Error naming `who` and the
/// address. `tried` is called after each attempt, with what it met.
Socket connect_to(const Address& address, Deadline deadline, const std::string& who,
                  const std::function<void(const std::string& reason)>& tried = {});
/// Of the other end, and of this one: "10.0.0.7:41234".
Address peer_of(const Socket& socket);
Address own_of(const Socket& socket);

/// One connection, which never blocks.
class Channel {
 public:
  /// Lengths beyond these are no message of ours.
  static constexpr std::uint32_t kMostKey = 4096;
  static constexpr std::uint32_t kMostBody = 64U << 20U;

  explicit Channel(Socket socket);
  int descriptor() const { return socket_.get(); }
  bool open() const { return socket_.open(); }
  void close() { socket_.close(); }
  const Socket& socket() const { return socket_; }

  /// Takes in what has come; false where the other end is gone.
  bool fill();
  /// The next whole message. NoMessage where what came is none of ours.
  std::optional<Message> take();
  void put(const Message& message);
  /// Sends what the connection takes now; false where the other end is gone.
  bool flush();
  bool wants_to_send() const { return sent_ < out_.size(); }
  /// Sends it all, by the deadline; false where that fails.
  bool flush_by(Deadline deadline);

 private:
  Socket socket_;
  std::string in_, out_;
  std::size_t taken_ = 0, sent_ = 0;
};

/// Milliseconds left, for poll(); at least 0.
int milliseconds_to(Deadline deadline);

}  // namespace om::ranks
