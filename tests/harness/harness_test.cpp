// Blind tests and empty programs fail, and scripts/test's pattern picks single tests.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <string>

namespace {

struct Ran {
  int status;
  std::string output;
  bool says(const std::string& line) const { return output.find(line) != std::string::npos; }
};

Ran run(const std::string& environment, const std::string& arguments) {
  const std::string command = "env -u ONEMODEL_TESTS -u ONEMODEL_TEST_ENTRY " + environment +
                              " '" ONEMODEL_BLIND_PROGRAM "' " + arguments + " 2>&1";
  Ran ran{-1, {}};
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return ran;
  std::array<char, 4096> buffer{};
  for (std::size_t count; (count = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    ran.output.append(buffer.data(), count);
  ran.status = pclose(pipe);
  return ran;
}

TEST(Harness, ATestThatAssertsNothingFails) {
  const Ran all = run("", "tests");
  EXPECT_NE(all.status, 0);
  EXPECT_TRUE(all.says("the test has asserted nothing")) << all.output;
  EXPECT_TRUE(all.says("[  FAILED  ] Inner.blind")) << all.output;
  EXPECT_TRUE(all.says("[  SKIPPED ] Inner.skipped")) << all.output;
  EXPECT_TRUE(all.says("[  PASSED  ] 2 tests.")) << all.output;
  EXPECT_EQ(run("", "tests --gtest_filter=-*blind").status, 0);
}

TEST(Harness, AProgramWithoutATestFails) {
  EXPECT_NE(run("", "").status, 0);
  EXPECT_NE(run("", "tests --gtest_filter=Nothing.*").status, 0);
}

TEST(Harness, APatternPicksSingleTests) {
  const Ran conv = run("ONEMODEL_TESTS=conv2d ONEMODEL_TEST_ENTRY=entry", "tests");
  EXPECT_EQ(conv.status, 0) << conv.output;
  EXPECT_TRUE(conv.says("[       OK ] Inner.conv2d/sees")) << conv.output;
  EXPECT_TRUE(conv.says("[  PASSED  ] 1 test.")) << conv.output;
  // what the entry leaves out stays out
  EXPECT_TRUE(run("ONEMODEL_TESTS=sees", "tests --gtest_filter=-*conv*").says("[  PASSED  ] 1 test."));
  EXPECT_TRUE(run("ONEMODEL_TESTS=sees", "tests --gtest_filter=*conv*:*none").says("[  PASSED  ] 1 test."));
  EXPECT_TRUE(run("ONEMODEL_TESTS='^Inner.(conv|mat)'", "tests").says("[  PASSED  ] 2 tests."));
  // no match is no failure, and an entry's own name takes all of it
  EXPECT_EQ(run("ONEMODEL_TESTS=nothing ONEMODEL_TEST_ENTRY=entry", "tests").status, 0);
  EXPECT_TRUE(run("ONEMODEL_TESTS=entry ONEMODEL_TEST_ENTRY=entry", "tests").says("Running 4 tests"));
}

}  // namespace
