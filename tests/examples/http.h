// A bare HTTP client: what is sent is what the test says, to the byte.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace om::test {

struct HttpReply {
  int status = 0;  ///< 0: none came
  std::string head, body;

  /// The body is one line of text.
  bool is_one_line() const;
};

/// A connection to a port of this machine.
class Connection {
 public:
  explicit Connection(int port);
  ~Connection();
  Connection(Connection&& other) noexcept : socket_(other.socket_) { other.socket_ = -1; }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// False where the other side has closed.
  bool send(const std::string& bytes) const;
  /// All until the other side closes; at most 30 seconds without a byte.
  HttpReply reply() const;
  /// A byte or the end is there within that time.
  bool stirs(int milliseconds) const;

 private:
  int socket_;
};

/// Sends the bytes and takes the reply.
HttpReply http_exchange(int port, const std::string& bytes);

/// As a program on this machine asks.
HttpReply http_get(int port, const std::string& path, const std::string& headers = "");
HttpReply http_post(int port, const std::string& path, const std::string& body,
                    const std::string& type = "application/json", const std::string& headers = "");

/// The text or number behind `"name": ` in a JSON text, and the bytes of such a data: URL.
std::string member(const std::string& json, const std::string& name);
std::string bytes_of_url(const std::string& url);

}  // namespace om::test
