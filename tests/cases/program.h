// What the drivers' main functions share: the option --backend NAME, and registering one GoogleTest per case
// under the case's own name.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <functional>
#include <string>

#include "tensor/registry.h"
#include "tests/harness/run.h"

namespace om::cases {

/// A test whose body is a function; TestBody may use EXPECT_ and GTEST_SKIP through it.
class FunctionTest : public testing::Test {
 public:
  explicit FunctionTest(std::function<void()> body) : body_(std::move(body)) {}
  void TestBody() override { body_(); }

 private:
  std::function<void()> body_;
};

inline void add_test(const char* suite, const std::string& name, std::function<void()> body) {
  testing::RegisterTest(suite, name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                        [body = std::move(body)]() -> testing::Test* { return new FunctionTest(body); });
}

/// Takes "--NAME VALUE" out of the arguments; `otherwise` where it is not there.
inline std::string take_option(int& argc, char** argv, const std::string& name, std::string otherwise) {
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == name && i + 1 < argc)
      otherwise = argv[++i];
    else if (argument.starts_with(name + "="))
      otherwise = argument.substr(name.size() + 1);
    else
      argv[kept++] = argv[i];
  }
  argc = kept;
  return otherwise;
}

/// main() of a driver: GoogleTest's options and --backend, then the tests that add_tests registers.
inline int run_program(int argc, char** argv, const std::function<void(Backend&)>& add_tests) {
  testing::InitGoogleTest(&argc, argv);
  const std::string name = take_option(argc, argv, "--backend", "cpu");
  if (argc > 1) {
    std::fprintf(stderr, "unknown argument '%s'; usage: %s [--backend NAME] [--gtest_...]\n", argv[1],
                 argv[0]);
    return 2;
  }
  try {
    Backend& tested = backend(name);
    std::printf("backend %s: %s\n", name.c_str(), tested.description().c_str());
    add_tests(tested);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
  return harness::run_all_tests();
}

}  // namespace om::cases
