#include "tests/harness/run.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <regex>
#include <string>
#include <string_view>

#include "tests/harness/assertions.h"

namespace om::harness {
namespace {

class BlindTestsFail : public testing::EmptyTestEventListener {
 public:
  void OnTestStart(const testing::TestInfo&) override { before_ = assertions.load(); }
  void OnTestEnd(const testing::TestInfo& test) override {
    if (test.result()->Passed() && assertions.load() == before_)
      ADD_FAILURE() << "the test has asserted nothing";
  }

 private:
  long before_ = 0;
};

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

/// GoogleTest's wildcards: * for any characters, ? for one.
bool fits(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return name.empty();
  if (pattern[0] == '*')
    return fits(pattern.substr(1), name) || (!name.empty() && fits(pattern, name.substr(1)));
  return !name.empty() && (pattern[0] == '?' || pattern[0] == name[0]) &&
         fits(pattern.substr(1), name.substr(1));
}

/// Whether one of the patterns, separated by colons, fits.
bool one_fits(std::string_view patterns, std::string_view name) {
  while (!patterns.empty()) {
    const std::size_t end = std::min(patterns.find(':'), patterns.size());
    if (fits(patterns.substr(0, end), name)) return true;
    patterns.remove_prefix(std::min(end + 1, patterns.size()));
  }
  return false;
}

/// POSITIVE[-NEGATIVE], as --gtest_filter has it.
bool passes(std::string_view filter, std::string_view name) {
  const std::size_t minus = std::min(filter.find('-'), filter.size());
  const std::string_view positive = filter.substr(0, minus);
  const std::string_view negative = filter.substr(std::min(minus + 1, filter.size()));
  return (positive.empty() || one_fits(positive, name)) && !one_fits(negative, name);
}

/// Of the tests that the filter lets pass, those whose names match `pattern`.
std::string narrowed(const std::string& filter, const std::regex& pattern) {
  const testing::UnitTest& all = *testing::UnitTest::GetInstance();
  std::string chosen;
  for (int s = 0; s < all.total_test_suite_count(); ++s) {
    const testing::TestSuite& suite = *all.GetTestSuite(s);
    for (int t = 0; t < suite.total_test_count(); ++t) {
      std::string name = std::string(suite.name()) + "." + suite.GetTestInfo(t)->name();
      if (!std::regex_search(name, pattern) || !passes(filter, name)) continue;
      std::replace(name.begin(), name.end(), '-', '?');  // a minus begins what is left out
      chosen += name + ":";
    }
  }
  return chosen.empty() ? "-*" : chosen;
}

}  // namespace

int run_all_tests() {
  testing::UnitTest& all = *testing::UnitTest::GetInstance();
  all.listeners().Append(new BlindTestsFail);
  const std::string wanted = variable("ONEMODEL_TESTS"), entry = variable("ONEMODEL_TEST_ENTRY");
  if (!wanted.empty()) {
    const std::regex pattern(wanted, std::regex::extended);
    if (!std::regex_search(entry, pattern))
      testing::GTEST_FLAG(filter) = narrowed(testing::GTEST_FLAG(filter), pattern);
  }
  const int result = RUN_ALL_TESTS();
  if (result == 0 && wanted.empty() && all.test_to_run_count() == 0 && !testing::GTEST_FLAG(list_tests)) {
    std::fprintf(stderr, "no test matches %s\n", std::string(testing::GTEST_FLAG(filter)).c_str());
    return 1;
  }
  return result;
}

}  // namespace om::harness
