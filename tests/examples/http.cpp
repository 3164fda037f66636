#include "tests/examples/http.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>

namespace om::test {

bool HttpReply::is_one_line() const {
  return body.size() > 1 && body.find('\n') == body.size() - 1 &&
         head.find("text/plain") != std::string::npos;
}

Connection::Connection(int port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (socket_ < 0 || ::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    throw std::runtime_error("no connection");
}

Connection::~Connection() {
  if (socket_ >= 0) ::close(socket_);
}

bool Connection::send(const std::string& bytes) const {
  for (std::size_t at = 0; at < bytes.size();) {
    const ssize_t count = ::send(socket_, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
    if (count <= 0) return false;
    at += static_cast<std::size_t>(count);
  }
  return true;
}

bool Connection::stirs(int milliseconds) const {
  pollfd polled{socket_, POLLIN, 0};
  return ::poll(&polled, 1, milliseconds) > 0;
}

HttpReply Connection::reply() const {
  std::string all;
  char buffer[65536];
  while (stirs(30'000)) {
    const ssize_t count = ::recv(socket_, buffer, sizeof buffer, 0);
    if (count <= 0) break;
    all.append(buffer, static_cast<std::size_t>(count));
  }
  HttpReply reply;
  const std::size_t end = all.find("\r\n\r\n");
  if (end == std::string::npos || all.size() < 12) return reply;
  reply.head = all.substr(0, end + 2);
  reply.body = all.substr(end + 4);
  reply.status = std::stoi(all.substr(9, 3));
  return reply;
}

HttpReply http_exchange(int port, const std::string& bytes) {
  const Connection connection(port);
  connection.send(bytes);
  return connection.reply();
}

namespace {

std::string host(int port) { return "Host: 127.0.0.1:" + std::to_string(port) + "\r\n"; }

}  // namespace

HttpReply http_get(int port, const std::string& path, const std::string& headers) {
  return http_exchange(port, "GET " + path + " HTTP/1.1\r\n" + host(port) + headers + "\r\n");
}

HttpReply http_post(int port, const std::string& path, const std::string& body, const std::string& type,
                    const std::string& headers) {
  return http_exchange(port, "POST " + path + " HTTP/1.1\r\n" + host(port) + "Content-Type: " + type +
                                 "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + headers +
                                 "\r\n" + body);
}

std::string member(const std::string& json, const std::string& name) {
  const std::string start = "\"" + name + "\": ";
  std::size_t begin = json.find(start);
  if (begin == std::string::npos) return "";
  begin += start.size();
  const bool is_text = json.compare(begin, 1, "\"") == 0;
  if (is_text) ++begin;
  return json.substr(begin, json.find_first_of(is_text ? "\"" : ",}", begin) - begin);
}

std::string bytes_of_url(const std::string& url) {
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  std::uint32_t group = 0;
  int bits = 0;
  for (const char c : url.substr(std::min(url.size(), url.find(',') + 1))) {
    if (c == '=') break;
    group = group << 6 | static_cast<std::uint32_t>(digits.find(c));
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes += static_cast<char>(group >> bits);
  }
  return bytes;
}

}  // namespace om::test
