#include "tensor/ranks/wire.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>

#include "tensor/error.h"

namespace om::ranks {
namespace {

struct Header {
  std::uint32_t mark, kind;
  std::int64_t number;
  std::uint32_t key, body;
};
constexpr std::uint32_t kMark = 0x6f6d7231;  // "omr1"

struct FreeList {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};
using Places = std::unique_ptr<addrinfo, FreeList>;

/// Error where the name means nothing.
Places resolve(const Address& address, bool to_listen) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (to_listen ? AI_PASSIVE : 0);
  addrinfo* found = nullptr;
  const char* host = address.host.empty() ? nullptr : address.host.c_str();
  const int status = ::getaddrinfo(host, std::to_string(address.port).c_str(), &hints, &found);
  if (status != 0) fail(address.text(), ": ", ::gai_strerror(status));
  return Places(found);
}

Address named(const sockaddr_storage& place, socklen_t length) {
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  if (::getnameinfo(reinterpret_cast<const sockaddr*>(&place), length, host.data(), host.size(), port.data(),
                    port.size(), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return {"unknown", 0};
  return {host.data(), std::atoi(port.data())};
}

void never_block(int descriptor) {
  ::fcntl(descriptor, F_SETFL, ::fcntl(descriptor, F_GETFL) | O_NONBLOCK);
  const int on = 1;
  ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/// One attempt; 0 or the reason.
int try_connect(const addrinfo& place, Deadline deadline, Socket& out) {
  Socket socket(
      ::socket(place.ai_family, place.ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, place.ai_protocol));
  if (!socket.open()) return errno;
  if (::connect(socket.get(), place.ai_addr, place.ai_addrlen) != 0) {
    if (errno != EINPROGRESS) return errno;
    pollfd wait{socket.get(), POLLOUT, 0};
    const int ready = ::poll(&wait, 1, std::min(milliseconds_to(deadline), 5000));
    if (ready < 0) return errno;
    if (ready == 0) return ETIMEDOUT;
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return error;
  }
  // A port of this machine that nobody listens at may be the very one that this end was given.
  if (own_of(socket).text() == peer_of(socket).text()) return ECONNREFUSED;
  out = std::move(socket);
  return 0;
}

}  // namespace

std::string Address::text() const {
  return host.find(':') == std::string::npos ? om::text(host, ':', port) : om::text('[', host, "]:", port);
}

Socket& Socket::operator=(Socket&& other) noexcept {
  if (this != &other) {
    close();
    descriptor_ = other.release();
  }
  return *this;
}

void Socket::close() {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
}

int Socket::release() { return std::exchange(descriptor_, -1); }

Socket listen_at(Address& address) {
  const Places places = resolve(address, true);
  int error = 0;
  for (const addrinfo* place = places.get(); place != nullptr; place = place->ai_next) {
    Socket socket(::socket(place->ai_family, place->ai_socktype | SOCK_CLOEXEC, place->ai_protocol));
    if (!socket.open()) {
      error = errno;
      continue;
    }
    const int on = 1;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (::bind(socket.get(), place->ai_addr, place->ai_addrlen) != 0 || ::listen(socket.get(), 1024) != 0) {
      error = errno;
      continue;
    }
    address.port = own_of(socket).port;
    return socket;
  }
  fail(address.text(), ": cannot listen there: ", std::strerror(error));
}

Socket connect_to(const Address& address, Deadline deadline, const std::string& who,
                  const std::function<void(const std::string& reason)>& tried) {
  std::string reason;
  const auto begun = Clock::now();
  auto pause = std::chrono::milliseconds(20);
  for (;;) {
    try {
      const Places places = resolve(address, false);
      for (const addrinfo* place = places.get(); place != nullptr; place = place->ai_next) {
        Socket socket;
        const int error = try_connect(*place, deadline, socket);
        if (error == 0) return socket;
        reason = std::strerror(error);
      }
    } catch (const Error& error) {  // its name may be known later
      reason = error.what();
    }
    if (Clock::now() + pause >= deadline) break;
    if (tried) tried(reason);
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::milliseconds(1000));
  }
  const auto waited = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - begun).count();
  fail(who, ": nobody answers at ", address.text(), " (", waited, " s: ", reason, ")");
}

Address peer_of(const Socket& socket) {
  sockaddr_storage place = {};
  socklen_t length = sizeof place;
  if (::getpeername(socket.get(), reinterpret_cast<sockaddr*>(&place), &length) != 0) return {"unknown", 0};
  return named(place, length);
}

Address own_of(const Socket& socket) {
  sockaddr_storage place = {};
  socklen_t length = sizeof place;
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&place), &length) != 0) return {"unknown", 0};
  return named(place, length);
}

Channel::Channel(Socket socket) : socket_(std::move(socket)) { never_block(socket_.get()); }

bool Channel::fill() {
  std::array<char, 65536> room;
  while (socket_.open()) {
    const ssize_t count = ::recv(socket_.get(), room.data(), room.size(), 0);
    if (count > 0) {
      in_.append(room.data(), static_cast<std::size_t>(count));
    } else if (count < 0 && errno == EINTR) {
      continue;
    } else {
      return count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    }
  }
  return false;
}

std::optional<Message> Channel::take() {
  Header header;
  if (in_.size() - taken_ < sizeof header) return std::nullopt;
  std::memcpy(&header, in_.data() + taken_, sizeof header);
  if (header.mark != kMark || header.key > kMostKey || header.body > kMostBody)
    fail<NoMessage>(peer_of(socket_).text(), ": what it sends is no message of a run");
  if (in_.size() - taken_ - sizeof header < std::size_t{header.key} + header.body) return std::nullopt;
  const std::size_t key = taken_ + sizeof header, body = key + header.key;
  Message message{static_cast<Kind>(header.kind), header.number, in_.substr(key, header.key),
                  in_.substr(body, header.body)};
  taken_ = body + header.body;
  if (taken_ == in_.size() || taken_ > (1U << 20U)) {
    in_.erase(0, taken_);
    taken_ = 0;
  }
  return message;
}

void Channel::put(const Message& message) {
  if (message.key.size() > kMostKey || message.body.size() > kMostBody)
    fail("ranks: a message of ", message.body.size(), " bytes is too long");
  const Header header{kMark, static_cast<std::uint32_t>(message.kind), message.number,
                      static_cast<std::uint32_t>(message.key.size()),
                      static_cast<std::uint32_t>(message.body.size())};
  out_.append(reinterpret_cast<const char*>(&header), sizeof header);
  out_ += message.key;
  out_ += message.body;
}

bool Channel::flush() {
  while (socket_.open() && sent_ < out_.size()) {
    const ssize_t count = ::send(socket_.get(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
    if (count >= 0) {
      sent_ += static_cast<std::size_t>(count);
    } else if (errno != EINTR) {
      return errno == EAGAIN || errno == EWOULDBLOCK;
    }
  }
  if (sent_ == out_.size()) {
    out_.clear();
    sent_ = 0;
  }
  return socket_.open();
}

bool Channel::flush_by(Deadline deadline) {
  while (wants_to_send()) {
    if (!flush()) return false;
    if (!wants_to_send()) break;
    pollfd wait{descriptor(), POLLOUT, 0};
    if (::poll(&wait, 1, milliseconds_to(deadline)) == 0) return false;
  }
  return true;
}

int milliseconds_to(Deadline deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000));
}

}  // namespace om::ranks
