// A run's metrics.jsonl as series of numbers, for whoever draws them.
//
// Every number of a line becomes a point of the series of its name; members of objects have dotted names,
// "grad_norm.encoder", "validation.psnr", "leak.random.ssim". A line that is torn (without its newline, cut,
// a process died in it) or foreign (no object with a whole `iteration`, one that goes back, too long) is
// skipped and counted; what stands before and after it is read. The file may grow meanwhile.
//
// Thinning keeps of each of a number of equal parts the first, the last, the smallest and the largest point
// (M4: Jugel et al. 2014, "A visualization-oriented time series data aggregation"), so that a drawn line
// shows every peak.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace om {

struct MetricsLine {
  std::int64_t iteration = 0;
  std::vector<std::pair<std::string, double>> numbers;  ///< all but the iteration, by dotted name
};

/// Nothing where the line is no JSON object with a whole `iteration` of at least 0, or nests deeper than
/// four levels. Nulls, texts and arrays are left out.
std::optional<MetricsLine> read_metrics_line(std::string_view line);

struct Series {
  std::vector<std::int64_t> iterations;  ///< ascending
  std::vector<double> values;
};

struct MetricsSeries {
  std::map<std::string, Series> series;                       ///< by dotted name, `stage` not among them
  std::int64_t lines = 0;                                     ///< that were taken
  std::int64_t skipped = 0;                                   ///< that were not
  std::int64_t last = 0;                                      ///< iteration of the last line
  std::vector<std::pair<std::int64_t, std::int64_t>> stages;  ///< each stage and its first iteration
};

/// Bytes a line may have, and series a run: what goes beyond is skipped.
inline constexpr std::size_t kMaxMetricsLine = std::size_t{1} << 16;
inline constexpr std::size_t kMaxSeries = 100;

/// Of a file; nothing in it where there is none. InputError where it cannot be read.
MetricsSeries read_metrics(const std::string& path);
/// Of its bytes.
MetricsSeries metrics_of(std::string_view bytes);

/// A series for drawing: its points, and where they were thinned the means of the parts beside them, which is
/// what smoothing works on.
struct ThinSeries {
  Series points, means;
  std::size_t count = 0;  ///< of the points there were
};

/// At most 4 x parts points. A value that is not finite is left out.
ThinSeries thinned(const Series& series, std::size_t parts);

}  // namespace om
