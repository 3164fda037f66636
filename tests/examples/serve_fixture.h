// A server of the 16-pixel model, started once for a suite.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/examples/fixture.h"
#include "tests/examples/http.h"
#include "tests/examples/program.h"

namespace om::test {

/// `onemodel serve` on a free port.
class Served {
 public:
  explicit Served(std::vector<std::string> arguments) : program_(with(std::move(arguments))) {
    EXPECT_TRUE(program_.says("Ctrl-C ends it")) << program_.said();
    const std::string said = program_.said(), start = "http://127.0.0.1:";
    const std::size_t at = said.find(start);
    if (at != std::string::npos) port_ = std::stoi(said.substr(at + start.size()));
  }
  int port() const { return port_; }
  std::string said() const { return program_.said(); }
  RunningProgram& program() { return program_; }

 private:
  static std::vector<std::string> with(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "serve");
    arguments.insert(arguments.end(), {"--port", "0"});
    return arguments;
  }
  RunningProgram program_;
  int port_ = 0;
};

/// The number of a picture by the reply to its being sent.
inline std::string picture_number(const HttpReply& reply) {
  EXPECT_EQ(reply.status, 200) << reply.body;
  return member(reply.body, "picture");
}

class ServeTest : public ProgramTest {
 protected:
  static void SetUpTestSuite() {
    ProgramTest::SetUpTestSuite();
    served_ = std::make_unique<Served>(std::vector<std::string>{"--model", path("model.safetensors")});
  }
  static void TearDownTestSuite() {
    served_.reset();
    ProgramTest::TearDownTestSuite();
  }

  static int port() { return served_->port(); }
  static Served& served() { return *served_; }

  /// The number of a picture that was sent.
  static std::string sent(const std::string& file) {
    const HttpReply reply =
        http_post(port(), "/api/pictures", content(path(file)), "application/octet-stream");
    return picture_number(reply);
  }
  /// A reply that refuses with a status and one line, in which `reason` stands.
  static void expect_refusal(const HttpReply& reply, int status, const std::string& reason = "") {
    EXPECT_EQ(reply.status, status) << reply.head << reply.body;
    EXPECT_TRUE(reply.is_one_line()) << reply.head << reply.body;
    EXPECT_NE(reply.body.find(reason), std::string::npos) << reply.body;
  }
  static void expect_answers() { EXPECT_EQ(http_get(port(), "/api/model").status, 200); }

 private:
  inline static std::unique_ptr<Served> served_;
};

}  // namespace om::test
