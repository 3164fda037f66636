// The comparison rejects what it must, wherever it stands.
#include "tests/harness/comparison.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace om::harness {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();
const std::vector<double> kReference = {1, -2, 3, 0, 4};

constexpr Rule kRules[] = {{0.1, Rule::Scale::largest, false}, {0.1, Rule::Scale::largest, true},
                           {0.1, Rule::Scale::each, false},    {0.1, Rule::Scale::each, true},
                           {kInf, Rule::Scale::largest, true}, {0.1, Rule::Scale::absolute, false},
                           {0.1, Rule::Scale::absolute, true}};

TEST(Comparison, TakesWhatAgrees) {
  std::vector<double> x = kReference;
  for (const Rule& rule : kRules) EXPECT_EQ(difference(x, kReference, rule), "");
  x[3] += 0.09;
  for (const Rule& rule : kRules) EXPECT_EQ(difference(x, kReference, rule), "");
  EXPECT_EQ(difference({}, {}, {}), "");
  EXPECT_EQ(relative_error(kReference, kReference), 0);
  EXPECT_DOUBLE_EQ(relative_error(x, kReference), 0.09 / 4);
  EXPECT_DOUBLE_EQ(relative_l2_error(x, kReference), 0.09 / std::sqrt(30.0));
}

TEST(Comparison, RejectsNanAndInfinityAtEveryPlace) {
  for (const double bad : {kNan, kInf, -kInf})
    for (std::size_t i = 0; i < kReference.size(); ++i) {
      std::vector<double> x = kReference;
      x[i] = bad;
      for (const Rule& rule : kRules)
        if (!(std::isinf(bad) && std::isinf(rule.tolerance)))
          EXPECT_NE(difference(x, kReference, rule), "") << bad << " at " << i;
      EXPECT_EQ(relative_error(x, kReference), kInf);
      EXPECT_EQ(relative_error(kReference, x), kInf);
      EXPECT_EQ(relative_error(x, x), kInf);
      EXPECT_EQ(relative_l2_error(x, kReference), kInf);
      EXPECT_EQ(relative_l2_error(kReference, x), kInf);
    }
}

TEST(Comparison, NonfiniteReferencesWantTheSameAtTheSamePlaces) {
  for (const double special : {kNan, kInf, -kInf})
    for (std::size_t i = 0; i < kReference.size(); ++i) {
      std::vector<double> reference = kReference;
      reference[i] = special;
      EXPECT_EQ(difference(reference, reference, {.nonfinite = true}), "");
      EXPECT_NE(difference(reference, reference, {.tolerance = 1}), "");
      EXPECT_NE(difference(kReference, reference, {.tolerance = 1, .nonfinite = true}), "");
      for (const double other : {kNan, kInf, -kInf}) {
        std::vector<double> x = reference;
        x[i] = other;
        const bool same = x[i] == special || (std::isnan(other) && std::isnan(special));
        EXPECT_EQ(difference(x, reference, {.tolerance = 1, .nonfinite = true}).empty(), same);
      }
    }
}

TEST(Comparison, RejectsWhatIsMissingOrTooMuch) {
  const std::vector<double> none, shorter(kReference.begin(), kReference.end() - 1);
  for (const Rule& rule : kRules) {
    EXPECT_NE(difference(none, kReference, rule), "");
    EXPECT_NE(difference(kReference, none, rule), "");
    EXPECT_NE(difference(shorter, kReference, rule), "");
    EXPECT_NE(difference(kReference, shorter, rule), "");
  }
  EXPECT_EQ(relative_error(none, kReference), kInf);
  EXPECT_EQ(relative_error(kReference, none), kInf);
  EXPECT_EQ(relative_l2_error(shorter, kReference), kInf);
}

TEST(Comparison, ScaleIsWhatTheRuleSays) {
  const std::vector<double> reference = {0, 100}, x = {0.5, 100};
  EXPECT_EQ(difference(x, reference, {.tolerance = 0.01}), "");
  EXPECT_NE(difference(x, reference, {.tolerance = 0.01, .scale = Rule::Scale::each}), "");
  EXPECT_NE(difference(x, reference, {.tolerance = 0.01, .scale = Rule::Scale::absolute}), "");
  EXPECT_EQ(difference(x, reference, {.tolerance = 0.5, .scale = Rule::Scale::absolute}), "");
  EXPECT_NE(difference(x, reference, {}), "");
  EXPECT_EQ(relative_error(x, std::vector<double>{0, 0}), kInf);
}

}  // namespace
}  // namespace om::harness
