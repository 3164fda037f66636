#include "train/metrics_series.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "io/bytes.h"

namespace om {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kDeepest = 4;
constexpr std::size_t kChunk = std::size_t{1} << 20;

/// Without a tree, as train/flat_json has it.
class LineReader final : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t value) override {
    if (at_iteration()) iteration = value;
    return number(static_cast<double>(value));
  }
  bool number_unsigned(number_unsigned_t value) override {
    const auto whole = static_cast<std::int64_t>(value);
    if (at_iteration() && whole >= 0) iteration = whole;
    return number(static_cast<double>(value));
  }
  bool number_float(number_float_t value, const string_t&) override { return number(value); }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return false; }
  bool key(string_t& value) override {
    key_ = std::move(value);
    return true;
  }
  bool start_object(std::size_t) override {
    if (arrays_ > 0) {
      ++arrays_;
      return true;
    }
    if (lengths_.size() == kDeepest) return false;
    lengths_.push_back(prefix_.size());
    if (lengths_.size() > 1) prefix_ += key_ + ".";
    return true;
  }
  bool end_object() override {
    if (arrays_ > 0) {
      --arrays_;
      return true;
    }
    prefix_.resize(lengths_.back());
    lengths_.pop_back();
    return true;
  }
  bool start_array(std::size_t) override {
    if (lengths_.empty()) return false;  // the line itself is one
    ++arrays_;
    return true;
  }
  bool end_array() override {
    --arrays_;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const Json::exception&) override { return false; }

  std::int64_t iteration = -1;
  std::vector<std::pair<std::string, double>> numbers;

 private:
  bool at_iteration() const { return arrays_ == 0 && lengths_.size() == 1 && key_ == "iteration"; }
  bool number(double value) {
    if (lengths_.empty()) return false;  // the line itself is one
    if (arrays_ == 0 && !at_iteration() && std::isfinite(value)) numbers.emplace_back(prefix_ + key_, value);
    return true;
  }

  std::string key_, prefix_;
  std::vector<std::size_t> lengths_;  // of the prefix before each object that is open
  int arrays_ = 0;                    // that are open, with the objects in them
};

/// Takes a file's bytes piece by piece.
class Collector {
 public:
  void take(std::string_view bytes) {
    while (!bytes.empty()) {
      const std::size_t end = bytes.find('\n');
      const std::string_view part = bytes.substr(0, end);
      too_long_ = too_long_ || pending_.size() + part.size() > kMaxMetricsLine;
      if (!too_long_) pending_ += part;
      begun_ = true;
      if (end == std::string_view::npos) return;
      too_long_ ? void(++out_.skipped) : line(pending_);
      pending_.clear();
      begun_ = too_long_ = false;
      bytes.remove_prefix(end + 1);
    }
  }

  /// What is left without a newline is torn: its writer may be in the midst of it.
  MetricsSeries result() {
    if (begun_) ++out_.skipped;
    return std::move(out_);
  }

 private:
  void line(std::string_view text) {
    const std::optional<MetricsLine> read = read_metrics_line(text);
    if (!read || read->iteration < out_.last) {
      ++out_.skipped;
      return;
    }
    out_.last = read->iteration;
    ++out_.lines;
    for (const auto& [name, value] : read->numbers) name == "stage" ? stage(value) : point(name, value);
  }

  void stage(double number) {
    const auto stage = static_cast<std::int64_t>(std::clamp(number, 0.0, 1e6));
    if (out_.stages.empty() || out_.stages.back().first != stage) {
      if (out_.stages.size() < kMaxSeries) out_.stages.emplace_back(stage, out_.last);
    }
  }

  void point(const std::string& name, double value) {
    auto found = out_.series.find(name);
    if (found == out_.series.end()) {
      if (out_.series.size() == kMaxSeries) return;
      found = out_.series.try_emplace(name).first;
    }
    Series& series = found->second;
    if (!series.iterations.empty() &&
        series.iterations.back() == out_.last) {  // said again: the later counts
      series.values.back() = value;
      return;
    }
    series.iterations.push_back(out_.last);
    series.values.push_back(value);
  }

  MetricsSeries out_;
  std::string pending_;
  bool begun_ = false, too_long_ = false;
};

}  // namespace

std::optional<MetricsLine> read_metrics_line(std::string_view line) {
  LineReader reader;
  if (!Json::sax_parse(line, &reader) || reader.iteration < 0) return std::nullopt;
  return MetricsLine{reader.iteration, std::move(reader.numbers)};
}

MetricsSeries metrics_of(std::string_view bytes) {
  Collector collector;
  collector.take(bytes);
  return collector.result();
}

MetricsSeries read_metrics(const std::string& path) {
  Collector collector;
  if (!std::filesystem::exists(path)) return collector.result();
  const auto source = open_source(path);  // as long as it is now
  std::string chunk;
  for (std::uint64_t begin = 0; begin < source->size(); begin += chunk.size()) {
    chunk.resize(std::min<std::uint64_t>(kChunk, source->size() - begin));
    source->read_at(begin, std::as_writable_bytes(std::span(chunk)));
    collector.take(chunk);
  }
  return collector.result();
}

ThinSeries thinned(const Series& series, std::size_t parts) {
  Series finite;
  for (std::size_t i = 0; i < series.values.size(); ++i)
    if (std::isfinite(series.values[i])) {
      finite.iterations.push_back(series.iterations[i]);
      finite.values.push_back(series.values[i]);
    }
  const std::size_t count = finite.values.size();
  ThinSeries thin;
  thin.count = count;
  if (parts == 0 || count <= 4 * parts) {
    thin.points = std::move(finite);
    return thin;
  }
  for (std::size_t part = 0; part < parts; ++part) {
    const std::size_t first = part * count / parts, end = (part + 1) * count / parts;
    const auto begin = finite.values.begin();
    const auto [low, high] = std::minmax_element(begin + static_cast<std::ptrdiff_t>(first),
                                                 begin + static_cast<std::ptrdiff_t>(end));
    std::vector<std::size_t> kept = {first, static_cast<std::size_t>(low - begin),
                                     static_cast<std::size_t>(high - begin), end - 1};
    std::sort(kept.begin(), kept.end());
    kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
    for (const std::size_t i : kept) {
      thin.points.iterations.push_back(finite.iterations[i]);
      thin.points.values.push_back(finite.values[i]);
    }
    double sum = 0;
    for (std::size_t i = first; i < end; ++i) sum += finite.values[i];
    thin.means.iterations.push_back(finite.iterations[(first + end - 1) / 2]);
    thin.means.values.push_back(sum / static_cast<double>(end - first));
  }
  return thin;
}

}  // namespace om
