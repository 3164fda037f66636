#include "examples/http_server.h"

#include <arpa/inet.h>
#include <httplib.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include "tensor/error.h"

namespace om {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kLingerSeconds = 2;

/// Everything is the page's own, and nobody else's business.
constexpr std::pair<const char*, const char*> kHeaders[] = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src "
     "'self'; "
     "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cache-Control", "no-store"},
};

/// The threads that serve connections, started as they are needed, and those connections that wait for one.
class Crew : public httplib::TaskQueue {
 public:
  explicit Crew(std::atomic<std::size_t>& waiting) : count_(waiting) {}
  ~Crew() override { shutdown(); }

  void enqueue(std::function<void()> task) override {
    std::unique_lock lock(mutex_);
    taken_.wait(lock, [&] { return tasks_.size() < HttpServer::kWaiting || ended_; });
    if (idle_ <= tasks_.size() && threads_.size() < HttpServer::kThreads) {
      try {
        threads_.emplace_back([this] { serve(); });
      } catch (const std::system_error&) {  // those that are there must do
        if (threads_.empty()) {
          lock.unlock();
          task();
          return;
        }
      }
    }
    tasks_.push_back(std::move(task));
    count_ = tasks_.size();
    arrived_.notify_one();
  }

  void shutdown() override {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    arrived_.notify_all();
    taken_.notify_all();
    for (std::thread& thread : threads_)
      if (thread.joinable()) thread.join();
  }

 private:
  void serve() {
    std::unique_lock lock(mutex_);
    while (true) {
      ++idle_;
      arrived_.wait(lock, [&] { return !tasks_.empty() || ended_; });
      --idle_;
      if (tasks_.empty()) return;
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      count_ = tasks_.size();
      taken_.notify_one();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::atomic<std::size_t>& count_;  // of tasks
  std::mutex mutex_;
  std::condition_variable arrived_, taken_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool ended_ = false;
};

/// What all connections share.
struct House {
  std::atomic<std::size_t> waiting = 0, bodies = 0;
  std::atomic<bool> ending = false;
};

/// One connection: bytes with a deadline.
class Wire {
 public:
  Wire(int socket, const House& house) : socket_(socket), house_(house) {}

  /// From now on, that long; a fifth where others wait.
  void allow(int seconds) {
    begin_ = Clock::now();
    allowed_ = std::chrono::seconds(seconds);
  }

  /// 0 at the end and when the time is over.
  std::size_t read(char* out, std::size_t size) {
    if (!wait(POLLIN)) return 0;
    const ssize_t count = ::recv(socket_, out, size, 0);
    return count > 0 ? static_cast<std::size_t>(count) : 0;
  }

  bool write(std::string_view bytes) {
    while (!bytes.empty()) {
      if (!wait(POLLOUT)) return false;
      const ssize_t count = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count < 0 && errno != EAGAIN && errno != EINTR) return false;
      if (count > 0) bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
  }

  bool in_time() const {
    const auto allowed = house_.waiting > 0 ? allowed_ / 5 : allowed_;
    return Clock::now() - begin_ < allowed;
  }

  /// Where not all was read, takes what is still on its way for a moment: closing at once would take back the
  /// answer.
  void end(bool all_was_read) {
    ::shutdown(socket_, SHUT_WR);
    allow(all_was_read ? 0 : kLingerSeconds);
    char rest[16384];
    while (!all_was_read && read(rest, sizeof rest) > 0) {
    }
    ::close(socket_);
  }

  int socket() const { return socket_; }

 private:
  bool wait(short events) const {
    pollfd polled{socket_, events, 0};
    while (in_time() && !(house_.ending && events == POLLIN)) {
      const int ready = ::poll(&polled, 1, 100);
      if (ready > 0) return true;
      if (ready < 0 && errno != EINTR) return false;
    }
    return false;
  }

  int socket_;
  const House& house_;
  Clock::time_point begin_ = Clock::now();
  std::chrono::milliseconds allowed_{0};
};

/// A request as the library reads it: the head that goes on, then the body.
class RequestStream : public httplib::Stream {
 public:
  RequestStream(Wire& wire, std::string bytes, std::uint64_t still_to_come)
      : wire_(wire), bytes_(std::move(bytes)), still_to_come_(still_to_come) {}

  bool is_readable() const override { return true; }
  bool is_writable() const override { return true; }
  ssize_t read(char* out, std::size_t size) override {
    if (at_ < bytes_.size()) {
      const std::size_t count = std::min(size, bytes_.size() - at_);
      std::memcpy(out, bytes_.data() + at_, count);
      at_ += count;
      return static_cast<ssize_t>(count);
    }
    const std::size_t count =
        wire_.read(out, static_cast<std::size_t>(std::min<std::uint64_t>(size, still_to_come_)));
    still_to_come_ -= count;
    return count > 0 ? static_cast<ssize_t>(count) : -1;
  }
  ssize_t write(const char* bytes, std::size_t size) override {
    if (!answers_) wire_.allow(HttpServer::kAnswerSeconds);
    answers_ = true;
    return wire_.write({bytes, size}) ? static_cast<ssize_t>(size) : -1;
  }
  bool all_was_read() const { return at_ == bytes_.size() && still_to_come_ == 0; }
  void get_remote_ip_and_port(std::string& ip, int& port) const override { ip = "127.0.0.1", port = 0; }
  void get_local_ip_and_port(std::string& ip, int& port) const override { ip = "127.0.0.1", port = 0; }
  socket_t socket() const override { return wire_.socket(); }

 private:
  Wire& wire_;
  std::string bytes_;
  std::size_t at_ = 0;
  std::uint64_t still_to_come_;
  bool answers_ = false;
};

std::string whole_answer(const HttpAnswer& answer) {
  std::string out = text("HTTP/1.1 ", answer.status, " ", reason_of(answer.status), "\r\n");
  for (const auto& [name, value] : kHeaders) out += text(name, ": ", value, "\r\n");
  return out + text("Content-Type: ", answer.type, "\r\nContent-Length: ", answer.body.size(),
                    "\r\nConnection: close\r\n\r\n", answer.body);
}

/// The handler's answer, or what becomes of its error.
template <class Handler>
HttpAnswer answer_of(const Handler& handler) {
  try {
    return handler();
  } catch (const UsageError& error) {
    return refusal(400, error.what());
  } catch (const InputError& error) {
    return refusal(422, error.what());
  } catch (const OutOfMemory&) {
    return refusal(503, "not enough memory");
  } catch (const std::bad_alloc&) {
    return refusal(503, "not enough memory");
  } catch (const std::exception& error) {
    return refusal(500, error.what());
  }
}

void put(const HttpAnswer& answer, httplib::Response& response) {
  response.status = answer.status;
  for (const auto& [name, value] : kHeaders) response.set_header(name, value);
  if (!answer.body.empty()) response.set_content(answer.body, answer.type);
}

/// The library takes paths as patterns.
std::string pattern_of(const std::string& path) {
  std::string pattern;
  for (const char c : path) pattern += c == '.' ? std::string("\\.") : std::string(1, c);
  return pattern;
}

}  // namespace

const char* http_library_version() { return CPPHTTPLIB_VERSION; }

HttpAnswer refusal(int status, std::string_view line) {
  return {status, "text/plain; charset=utf-8", std::string(line) + "\n"};
}

class HttpServer::Guarded : public httplib::Server {
 public:
  explicit Guarded(int port) {
    // Without the library's SO_REUSEPORT, by which a second server would share a port that is taken.
    set_socket_options([](socket_t socket) {
      const int yes = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    new_task_queue = [this] { return new Crew(house_.waiting); };
    set_payload_max_length(kMaxUpload);
    set_error_handler([](const httplib::Request&, httplib::Response& response) {
      if (response.body.empty()) put(refusal(response.status, reason_of(response.status)), response);
    });
    errno = 0;
    if (port != 0) {
      port_ = bind_to_port("127.0.0.1", port) ? port : -1;
    } else {
      port_ = bind_to_any_port("127.0.0.1");
    }
    if (port_ < 0)
      fail("127.0.0.1:", port, ": cannot listen: ", errno != 0 ? std::strerror(errno) : "the port is taken");
    ::listen(svr_sock_, 1024);  // more may wait than the library's five
  }
  ~Guarded() override { end(); }

  int port() const { return port_; }

  void start() {
    thread_ = std::thread([this] {
      listen_after_bind();
      over_ = true;
    });
    while (!is_running() && !over_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  bool is_over() const { return over_; }

  void end() {
    house_.ending = true;
    if (!thread_.joinable()) return;
    stop();
    thread_.join();
  }

 private:
  /// Reads the head up to its empty line; what came behind it goes to `more`.
  Refusal read_head(Wire& wire, std::string& head, std::string& more) const {
    char bytes[4096];
    wire.allow(kHeadSeconds);
    while (true) {
      const std::size_t searched = head.size() < 3 ? 0 : head.size() - 3;
      const std::size_t count = wire.read(bytes, sizeof bytes);
      if (count == 0) return {wire.in_time() ? 400 : 408, "no whole request came"};
      head.append(bytes, count);
      const std::size_t end = head.find("\r\n\r\n", searched);
      if (end != std::string::npos && end + 4 <= kMaxHead) {
        more = head.substr(end + 4);
        head.resize(end + 4);
        return {};
      }
      if (head.size() > kMaxHead) return {431, text("a head has at most ", kMaxHead, " bytes here")};
    }
  }

  bool process_and_close_socket(socket_t socket) override {
    const int yes = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    Wire wire(socket, house_);
    bool all_was_read = false;
    try {
      all_was_read = serve(wire);
    } catch (const std::exception&) {  // no memory to say so either
    }
    wire.end(all_was_read);
    return true;
  }

  /// Whether all that was sent was read.
  bool serve(Wire& wire) {
    std::string head, more;
    Refusal refused = read_head(wire, head, more);
    RequestHead judged;
    if (refused.status == 0) {
      judged = judge(head, port_);
      refused = judged.refusal;
    }
    if (refused.status == 0 && more.size() > judged.body) refused = {400, "one request a connection"};
    if (refused.status == 0 && house_.bodies.fetch_add(judged.body) + judged.body > kBodies) {
      house_.bodies -= judged.body;
      refused = {503, "too many pictures at once"};
    }
    if (refused.status != 0) {
      wire.allow(kAnswerSeconds);
      wire.write(whole_answer(refusal(refused.status, refused.line)));
      return false;
    }
    struct Release {
      std::atomic<std::size_t>& bodies;
      std::size_t size;
      ~Release() { bodies -= size; }
    } const release{house_.bodies, judged.body};
    const std::uint64_t rest = judged.body - more.size();
    wire.allow(kBodySeconds);
    RequestStream stream(wire, judged.text + more, rest);
    bool closed = false;
    process_request(stream, true, closed, [](httplib::Request&) {});
    return stream.all_was_read();
  }

  House house_;
  std::atomic<bool> over_ = false;
  int port_ = -1;
  std::thread thread_;
};

HttpServer::HttpServer(int port) : server_(std::make_unique<Guarded>(port)) {}
HttpServer::~HttpServer() = default;

int HttpServer::port() const { return server_->port(); }

void HttpServer::get(const std::string& path, Get handler) {
  server_->Get(pattern_of(path),
               [handler = std::move(handler)](const httplib::Request&, httplib::Response& response) {
                 put(answer_of(handler), response);
               });
}

void HttpServer::post(const std::string& path, Post handler) {
  server_->Post(pattern_of(path),
                [handler = std::move(handler)](const httplib::Request& request, httplib::Response& response) {
                  put(answer_of([&] { return handler(request.body); }), response);
                });
}

void HttpServer::start() { server_->start(); }
bool HttpServer::answers() const { return !server_->is_over(); }
void HttpServer::stop() { server_->end(); }

}  // namespace om
