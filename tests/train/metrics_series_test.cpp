// Metrics read as series: torn and foreign lines, and thinning that keeps the peaks.
#include "train/metrics_series.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

namespace om::test {
namespace {

TEST(MetricsLines, NumbersHaveDottedNames) {
  const auto line = read_metrics_line(
      R"({"iteration": 7, "loss": 0.5, "grad_norm": {"main": 2, "deep": {"er": -1}}, "stage": 1, "list": [1, {"a": 2}],
          "text": "x", "none": null, "yes": true})");
  ASSERT_TRUE(line);
  EXPECT_EQ(line->iteration, 7);
  const std::vector<std::pair<std::string, double>> expected = {
      {"loss", 0.5}, {"grad_norm.main", 2}, {"grad_norm.deep.er", -1}, {"stage", 1}};
  EXPECT_EQ(line->numbers, expected);
}

TEST(MetricsLines, OthersAreNone) {
  for (const char* line :
       {"", "7", "[1, 2]", "null", "{}", R"({"loss": 1})", R"({"iteration": 1.5})", R"({"iteration": -1})",
        R"({"iteration": "1"})", R"({"iteration": 18446744073709551615})", R"({"iteration": 1, "loss": 0.)",
        R"({"iteration": 1} x)", R"({"a": {"iteration": 1}})", R"({"iteration": [1]})", "\xff\xfe",
        R"({"iteration": 1, "a": {"b": {"c": {"d": {"e": 1}}}}})", R"([{"iteration": 1}])",
        R"({"iteration": 1e400})"})
    EXPECT_FALSE(read_metrics_line(line)) << line;
}

TEST(MetricsSeries, TornAndForeignLinesAreSkippedAndCounted) {
  const std::string torn = R"({"iteration": 1, "loss": 4}
{"iteration": 2, "loss": 3}
{"iteration": 3, "lo{"iteration": 3, "loss": 2}
hello
{"iteration": 1, "loss": 99}

{"iteration": 4, "loss": 1, "stage": 2}
)" + std::string(kMaxMetricsLine + 1, 'x') +
                           "\n" + R"({"iteration": 4, "validation": {"psnr": 20}, "stage": 2}
{"iteration": 5, "loss": 0.5)";
  const MetricsSeries metrics = metrics_of(torn);
  EXPECT_EQ(metrics.lines, 4);
  EXPECT_EQ(metrics.skipped, 6);
  EXPECT_EQ(metrics.last, 4);
  const Series& loss = metrics.series.at("loss");
  EXPECT_EQ(loss.iterations, (std::vector<std::int64_t>{1, 2, 4}));
  EXPECT_EQ(loss.values, (std::vector<double>{4, 3, 1}));
  EXPECT_EQ(metrics.series.at("validation.psnr").values, std::vector<double>{20});
  EXPECT_EQ(metrics.series.count("stage"), 0U);
  EXPECT_EQ(metrics.stages, (std::vector<std::pair<std::int64_t, std::int64_t>>{{2, 4}}));
}

TEST(MetricsSeries, ACompleteLineWithoutItsNewlineIsTorn) {
  EXPECT_EQ(metrics_of(R"({"iteration": 1, "loss": 1})").skipped, 1);
  EXPECT_EQ(metrics_of(R"({"iteration": 1, "loss": 1})").lines, 0);
  EXPECT_EQ(metrics_of("").skipped, 0);
}

TEST(MetricsSeries, NamesAreBounded) {
  std::string line = R"({"iteration": 1)";
  for (int i = 0; i < 1000; ++i) line += ", \"n" + std::to_string(i) + "\": 1";
  EXPECT_EQ(metrics_of(line + "}\n").series.size(), kMaxSeries);
}

TEST(MetricsSeries, NoFileIsNoLines) {
  const MetricsSeries metrics = read_metrics("/nowhere/metrics.jsonl");
  EXPECT_EQ(metrics.lines + metrics.skipped, 0);
}

Series wave(std::int64_t count) {
  Series series;
  for (std::int64_t i = 0; i < count; ++i) {
    series.iterations.push_back(3 * i);
    series.values.push_back(std::sin(0.1 * static_cast<double>(i)));
  }
  return series;
}

TEST(Thinning, ShortSeriesStayAsTheyAre) {
  const Series series = wave(400);
  const ThinSeries thin = thinned(series, 100);
  EXPECT_EQ(thin.points.values, series.values);
  EXPECT_EQ(thin.points.iterations, series.iterations);
  EXPECT_TRUE(thin.means.values.empty());
  EXPECT_EQ(thin.count, 400U);
}

TEST(Thinning, KeepsEveryPeakAndTheEnds) {
  for (const std::size_t parts : {1, 7, 100}) {
    for (std::size_t at = 0; at < 10'000; at += 613) {
      Series series = wave(10'000);
      series.values[at] = 50;
      series.values[(at + 4321) % 10'000] = -50;
      const ThinSeries thin = thinned(series, parts);
      EXPECT_LE(thin.points.values.size(), 4 * parts);
      EXPECT_EQ(thin.means.values.size(), parts);
      EXPECT_EQ(thin.count, 10'000U);
      EXPECT_EQ(std::count(thin.points.values.begin(), thin.points.values.end(), 50), 1);
      EXPECT_EQ(std::count(thin.points.values.begin(), thin.points.values.end(), -50), 1);
      EXPECT_EQ(thin.points.iterations.front(), 0);
      EXPECT_EQ(thin.points.iterations.back(), 3 * 9999);
      EXPECT_TRUE(std::is_sorted(thin.points.iterations.begin(), thin.points.iterations.end()));
      for (std::size_t i = 0; i < thin.points.values.size(); ++i)
        EXPECT_EQ(thin.points.values[i],
                  series.values[static_cast<std::size_t>(thin.points.iterations[i]) / 3]);
    }
  }
}

TEST(Thinning, MeansAreOfAllPoints) {
  Series series = wave(1000);
  const ThinSeries thin = thinned(series, 10);
  double all = 0, of_means = 0;
  for (const double value : series.values) all += value / 1000;
  for (const double value : thin.means.values) of_means += value / 10;
  EXPECT_NEAR(of_means, all, 1e-12);
}

TEST(Thinning, LeavesOutWhatIsNoNumber) {
  Series series = wave(10'000);
  for (const std::size_t at : {0, 77, 9999}) series.values[at] = std::numeric_limits<double>::quiet_NaN();
  series.values[500] = std::numeric_limits<double>::infinity();
  const ThinSeries thin = thinned(series, 10);
  EXPECT_EQ(thin.count, 9996U);
  EXPECT_TRUE(std::all_of(thin.points.values.begin(), thin.points.values.end(),
                          [](double value) { return std::isfinite(value); }));
}

}  // namespace
}  // namespace om::test
