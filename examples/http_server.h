// A server for pages of this machine, on 127.0.0.1: cpp-httplib speaks HTTP and finds the handler, this looks
// after who comes in. One request a connection; its head is read whole and judged first (http_head.h).
//
//   bounds   kThreads connections are served at once and kWaiting wait; more wait in the system. Bodies on
//            their way take kBodies bytes at most, all together.
//   time     a head must be there within kHeadSeconds, a body within kBodySeconds, and an answer be taken
//            within kAnswerSeconds; a fifth of that where others wait. A connection that sends a byte a
//            second ends with 408 and costs the others nothing.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "examples/http_head.h"

namespace om {

struct HttpAnswer {
  int status = 200;
  std::string type = "application/json";
  std::string body;
};

/// Of the library, "0.11.4".
const char* http_library_version();

/// An answer that is a refusal: `line` as text.
HttpAnswer refusal(int status, std::string_view line);

class HttpServer {
 public:
  static constexpr std::size_t kThreads = 64, kWaiting = 256, kBodies = std::size_t{128} << 20;
  static constexpr int kHeadSeconds = 5, kBodySeconds = 20, kAnswerSeconds = 10;

  using Get = std::function<HttpAnswer()>;
  using Post = std::function<HttpAnswer(const std::string& body)>;

  /// Listens; port 0 is any that is free. Error `127.0.0.1:PORT: cannot listen: reason` where it cannot.
  explicit HttpServer(int port);
  ~HttpServer();  ///< stop()
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const;
  /// Before start(). A path is a path, no pattern. What a handler throws becomes a status and its line:
  /// UsageError 400, InputError 422, no memory 503, others 500.
  void get(const std::string& path, Get handler);
  void post(const std::string& path, Post handler);

  /// Answers from now on, in threads of its own.
  void start();
  /// False once it answers no more, by stop() or because the system took its socket away.
  bool answers() const;
  /// Ends; connections that are being answered get their answers first.
  void stop();

 private:
  class Guarded;
  std::unique_ptr<Guarded> server_;
};

}  // namespace om
