// The server under attack: a status and one line each, bounded memory, and the page still answers.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <zlib.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <future>
#include <map>
#include <sstream>
#include <thread>

#include "io/image.h"
#include "tests/examples/serve_fixture.h"

namespace om::test {
namespace {

using Attack = ServeTest;

/// The most memory that a process ever had resident, in MB.
std::int64_t peak_megabytes(int pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6)) / 1024;
  return -1;
}

/// A PNG whose header claims these sides.
std::string claiming(std::string png, std::uint32_t width, std::uint32_t height) {
  const auto put = [&](std::size_t at, std::uint32_t value) {
    for (int i = 0; i < 4; ++i)
      png[at + static_cast<std::size_t>(i)] = static_cast<char>(value >> (24 - 8 * i));
  };
  put(16, width);
  put(20, height);
  put(29, static_cast<std::uint32_t>(::crc32(0, reinterpret_cast<const Bytef*>(png.data()) + 12, 17)));
  return png;
}

TEST_F(Attack, OtherHostsAreRefused) {
  const std::string at = std::to_string(port());
  const auto with = [](const std::string& hosts) {
    return http_exchange(port(), "GET / HTTP/1.1\r\n" + hosts + "\r\n");
  };
  EXPECT_EQ(with("Host: 127.0.0.1:" + at + "\r\n").status, 200);
  EXPECT_EQ(with("hOsT: localhost:" + at + "\r\n").status, 200);
  for (const std::string& hosts :
       {"Host: evil.example:" + at + "\r\n", std::string("Host: 127.0.0.1\r\n"),
        std::string("Host: 127.0.0.1:1\r\n"), std::string(),
        "Host: 127.0.0.1:" + at + "\r\nHost: evil.example\r\n", "Host: 127.0.0.1:" + at + ".evil.example\r\n",
        "Host: 127.0.0.1:" + at + "0\r\n", "Host: localhost:" + at + "/\r\n",
        "Host: localhost.:" + at + "\r\n", "Host: evil.example#127.0.0.1:" + at + "\r\n",
        "Host:\r\n" + std::string("X-Host: 127.0.0.1:") + at + "\r\n"})
    expect_refusal(with(hosts), 403, "alone");
}

TEST_F(Attack, OtherOriginsAreRefused) {
  const std::string own = "http://127.0.0.1:" + std::to_string(port());
  const auto sample = [](const std::string& headers) {
    return http_post(port(), "/api/sample", R"({"seed": 1, "maps": "zero"})", "application/json", headers);
  };
  EXPECT_EQ(sample("").status, 200);  // a program of this machine
  EXPECT_EQ(sample("Origin: " + own + "\r\nSec-Fetch-Site: same-origin\r\n").status, 200);
  for (const std::string& headers :
       {std::string("Origin: http://evil.example\r\n"), std::string("Origin: null\r\n"),
        std::string("Origin: https://127.0.0.1:") + std::to_string(port()) + "\r\n",
        "Origin: http://localhost:" + std::to_string(port()) + "\r\n",
        "Origin: http://127.0.0.1:1\r\n" + std::string(),
        "Origin: " + own + "\r\nOrigin: http://evil.example\r\n",
        std::string("Sec-Fetch-Site: cross-site\r\n"), std::string("Sec-Fetch-Site: same-site\r\n"),
        "Origin: " + own + "\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n"})
    expect_refusal(sample(headers), 403, "are not answered");
  expect_refusal(http_get(port(), "/api/model", "Sec-Fetch-Site: cross-site\r\n"), 403);
  expect_refusal(http_get(port(), "/serve.js", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n"),
                 403);
  EXPECT_EQ(http_get(port(), "/", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n").status,
            200);  // a link
  // what a page of another origin may send without asking first
  for (const char* type :
       {"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"}) {
    expect_refusal(http_post(port(), "/api/sample", R"({"seed": 1, "maps": "zero"})", type), 415);
    expect_refusal(http_post(port(), "/api/pictures", content(path("photos/one.png")), type), 415);
  }
  expect_refusal(http_exchange(port(), "OPTIONS /api/sample HTTP/1.1\r\nHost: 127.0.0.1:" +
                                           std::to_string(port()) + "\r\n\r\n"),
                 405);
}

TEST_F(Attack, NothingButThePageIsServed) {
  for (const char* target :
       {"/../../../../etc/passwd", "/..%2f..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd", "/look.css/../../README.md", "/lookxcss", "/serve.js/", "/api", "/api/",
        "/api/picture/..", "/.git/config", "/README.md", "/index.html", "/favicon.ico", "/proc/self/environ",
        "/%00", "/look.css%00.png", "/~root"})
    expect_refusal(http_get(port(), target), 404);
  for (const char* line : {"GET http://127.0.0.1/ HTTP/1.1", "GET etc/passwd HTTP/1.1", "GET / HTTP/2",
                           "GET /", "GET", "", " ", "GET / a HTTP/1.1", "GET /\tx HTTP/1.1"})
    expect_refusal(http_exchange(port(), std::string(line) + "\r\nHost: 127.0.0.1:" + std::to_string(port()) +
                                             "\r\n\r\n"),
                   400);
  for (const char* method : {"PUT", "DELETE", "CONNECT", "TRACE", "get", "PRI"})
    expect_refusal(http_exchange(port(), std::string(method) + " / HTTP/1.1\r\nHost: 127.0.0.1:" +
                                             std::to_string(port()) + "\r\n\r\n"),
                   405);
  expect_refusal(http_post(port(), "/", "{}"), 404);
  EXPECT_EQ(http_get(port(), "/look.css?a=b").status, 200);
}

TEST_F(Attack, HeadsAreBounded) {
  expect_refusal(http_get(port(), "/", "X: " + std::string(20'000, 'x') + "\r\n"), 431);
  std::string many;
  for (int i = 0; i < 3000; ++i) many += "X: y\r\n";
  expect_refusal(http_get(port(), "/", many), 431);
  expect_refusal(http_get(port(), "/" + std::string(300, 'a')), 414);
  expect_refusal(http_get(port(), "/", "no header\r\n"), 400);
  expect_refusal(http_get(port(), "/", " folded: line\r\n"), 400);
  expect_refusal(http_get(port(), "/", std::string("X: \0y\r\n", 7)), 400);
  expect_refusal(http_get(port(), "/", "Content-Length: 5\r\n"), 400);
  EXPECT_EQ(http_get(port(), "/", "Range: bytes=0-1,0-1,0-1,0-1\r\n").status, 200);  // is not looked at
}

TEST_F(Attack, BodiesAreBounded) {
  const auto with = [](const std::string& headers, const std::string& body = "") {
    return http_exchange(port(), "POST /api/pictures HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port()) +
                                     "\r\nContent-Type: application/octet-stream\r\n" + headers + "\r\n" +
                                     body);
  };
  expect_refusal(with(""), 411);
  expect_refusal(with("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), 411);
  expect_refusal(with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), 411);
  expect_refusal(with("Content-Encoding: gzip\r\nContent-Length: 5\r\n", "hello"), 415);
  expect_refusal(with("Content-Length: 99999999999\r\n"), 413, "at most");
  expect_refusal(with("Content-Length: 99999999999999999999999\r\n"), 400);
  expect_refusal(with("Content-Length: -5\r\n"), 400);
  expect_refusal(with("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), 400);
  expect_refusal(with("Content-Length: 0\r\n", "GET / HTTP/1.1\r\n\r\n"), 400, "one request");
  expect_refusal(with("Content-Length: 0\r\n"), 422, "is empty");
  // to the byte
  expect_refusal(http_post(port(), "/api/sample", std::string(65'536, ' ')), 400);
  expect_refusal(http_post(port(), "/api/sample", std::string(65'537, ' ')), 413,
                 "65537 bytes; at most 65536");
  expect_refusal(with("Content-Length: 67108865\r\n"), 413, "at most 67108864");
  const Connection largest(port());
  largest.send("POST /api/pictures HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port()) +
               "\r\nContent-Type: application/octet-stream\r\nContent-Length: 67108864\r\n\r\n");
  EXPECT_FALSE(largest.stirs(300));  // waits for it
  expect_refusal(http_post(port(), "/api/sample", std::string(60'000, '[')), 400);
  const auto cut = [](const Connection& connection) {  // a body that ends before its length
    connection.send("POST /api/pictures HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port()) +
                    "\r\nContent-Type: application/octet-stream\r\nContent-Length: 1000\r\n\r\nhello");
  };
  cut(Connection(port()));
  expect_answers();
}

TEST_F(Attack, PicturesAreBounded) {
  const std::string png = content(path("photos/one.png"));
  const auto sends = [](const std::string& bytes) {
    return http_post(port(), "/api/pictures", bytes, "application/octet-stream");
  };
  expect_refusal(sends(claiming(png, 10'000, 10'000)), 422, "over the limit of 64 megapixels");
  expect_refusal(sends(claiming(png, 0x7fffffff, 0x7fffffff)), 422, "over the limit");
  expect_refusal(sends(claiming(png, 8'000, 8'000)), 422);  // no more than its bytes can hold
  expect_refusal(sends(png.substr(0, png.size() / 2)), 422);
  expect_refusal(sends("hello"), 422, "is no PNG, JPEG or WebP image");
  std::string garbage(50'000, '\0');
  std::uint32_t state = 7;
  for (char& c : garbage) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  expect_refusal(sends(garbage), 422);
  expect_refusal(sends(png.substr(0, 40) + garbage), 422);
  expect_answers();
}

TEST_F(Attack, GarbageIsAnswered) {
  std::uint32_t state = 3;
  for (int i = 0; i < 50; ++i) {
    std::string garbage(200, '\0');
    for (char& c : garbage) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
    expect_refusal(http_exchange(port(), garbage + "\r\n\r\n"), 400);
  }
  expect_refusal(http_exchange(port(), std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) +
                                           std::string(20'000, 'a')),
                 431);  // TLS
  expect_answers();
}

TEST_F(Attack, FiftySlowConnectionsKeepNobodyWaiting) {
  std::vector<Connection> slow;
  for (int i = 0; i < 50; ++i) {
    slow.emplace_back(port());
    slow.back().send("GET / HTT");
  }
  for (int round = 0; round < 3; ++round) {
    for (const Connection& connection : slow) connection.send("x");
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(http_get(port(), "/").status, 200);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(500));
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
}

TEST_F(Attack, ALoneSlowConnectionIsEndedToo) {
  const Connection slow(port());
  const auto begin = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  slow.send("GET / HTTP/1.1\r\nX: ");
  while (seconds() < 15 && !slow.stirs(500)) slow.send("x");  // each byte anew in time, the head never
  EXPECT_GT(seconds(), 4);
  EXPECT_LT(seconds(), 10);
  expect_refusal(slow.reply(), 408, "no whole request came");
}

TEST_F(Attack, MoreSlowConnectionsThanThreadsAreEnded) {
  std::vector<Connection> slow;
  for (int i = 0; i < 150; ++i) {
    slow.emplace_back(port());
    slow.back().send("G");
  }
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(http_get(port(), "/").status,
            200);  // behind 86 that wait: each round of 64 ends after a second
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(8));
  expect_refusal(slow.front().reply(), 408);
}

TEST_F(Attack, AThousandRequestsAtOnceAreAllAnswered) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 4096);
  ::setrlimit(RLIMIT_NOFILE, &limit);
  ASSERT_GE(limit.rlim_cur, 1100U);
  const std::string picture = sent("photos/one.png"),
                    host = "Host: 127.0.0.1:" + std::to_string(port()) + "\r\n";
  std::vector<Connection> all;
  for (int i = 0; i < 1000; ++i) {
    all.emplace_back(port());
    const std::string body = R"({"picture": )" + picture + R"(, "maps": "zero", "channel": "tab )" +
                             std::to_string(i % 10) + R"(", "number": )" + std::to_string(i + 1) + "}";
    all.back().send(i % 2 == 0 ? "GET /serve.js HTTP/1.1\r\n" + host + "\r\n"
                               : "POST /api/picture HTTP/1.1\r\n" + host +
                                     "Content-Type: application/json\r\nContent-Length: " +
                                     std::to_string(body.size()) + "\r\n\r\n" + body);
  }
  for (const Connection& connection : all) {
    const int status = connection.reply().status;
    EXPECT_TRUE(status == 200 || status == 204) << status;
  }
  expect_answers();
}

TEST_F(Attack, ManyPicturesAtOnceLeaveThePageItsThreads) {
  // more than there are threads, of some 0.1 s each
  const Image large(2'500, 2'500);
  const std::vector<std::uint8_t> bytes = encode_png(large);
  const std::string png(bytes.begin(), bytes.end());
  std::vector<std::future<int>> statuses;
  for (int i = 0; i < 100; ++i)
    statuses.push_back(std::async(std::launch::async, [&png] {
      return http_post(port(), "/api/pictures", png, "application/octet-stream").status;
    }));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));  // until they are all there
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(http_get(port(), "/").status, 200);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
  std::map<int, int> count;
  for (auto& status : statuses) ++count[status.get()];
  EXPECT_EQ(count[200] + count[503], 100);
  EXPECT_GE(count[200], 8);
  expect_answers();
}

TEST_F(Attack, MemoryIsBounded) {
  // connections that promise 60 MB each and send 8 of them: what goes beyond 128 MiB promised is refused
  std::vector<Connection> all;
  const std::string part(8'000'000, 'x');
  int refused = 0;
  for (int i = 0; i < 8; ++i) {
    all.emplace_back(port());
    all.back().send("POST /api/pictures HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port()) +
                    "\r\nContent-Type: application/octet-stream\r\nContent-Length: 60000000\r\n\r\n" + part);
    if (all.back().stirs(300)) {
      expect_refusal(all.back().reply(), 503, "too many");
      ++refused;
    }
  }
  EXPECT_EQ(refused, 6);  // of 8: twice 60 MB fit into 128 MiB
  expect_answers();
  all.clear();
  EXPECT_LT(peak_megabytes(served().program().pid()), 500);
  EXPECT_GT(peak_megabytes(served().program().pid()), 1);
}

}  // namespace
}  // namespace om::test
