#include "examples/bench_report.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>

#include "tensor/error.h"
#include "train/flat_json.h"

namespace om {
namespace {

constexpr double kMebi = 1 << 20;

const MachinePeaks& peaks_of(const BenchReport& report, Precision precision) {
  const auto found = std::find_if(report.peaks.begin(), report.peaks.end(),
                                  [&](const MachinePeaks& peaks) { return peaks.precision == precision; });
  if (found == report.peaks.end()) fail("bench: no peak was measured in ", name_of(precision));
  return *found;
}

/// Parts of what the machine does at best.
struct Shares {
  Shares(const BenchPart& part, const MachinePeaks& peaks)
      : convolution(part.work.flops / part.time.median / peaks.flops),
        copy(part.work.bytes / part.time.median / peaks.bytes) {}
  double convolution, copy;
};

const char* name_of(Pass pass) { return pass == Pass::forward ? "forward" : "backward"; }

std::string cells(const BenchPart& part, const MachinePeaks& peaks) {
  const Shares shares(part, peaks);
  return fmt::format("{:>10.3f} {:>10.3f} {:>10.3f} {:>10.1f} {:>6.1f} {:>6.1f}", 1e3 * part.time.median,
                     1e3 * part.time.least, 1e3 * part.time.most, 1e-9 * part.work.flops,
                     100 * shares.convolution, 100 * shares.copy);
}

void add_profile(std::string& out, const BenchRow& row) {
  double total = 0;
  for (const OpRow& op : row.profile) total += op.seconds;
  out += fmt::format(
      "\n{} {} batch {}, by op: run as it is, every op waited for, so their sum ({:.3f} ms) is more than the "
      "work's own time\n{:<24} {:<8} {:>6} {:>10} {:>7} {:>10}\n",
      row.task, om::name_of(row.precision), row.batch, 1e3 * total, "op", "pass", "calls", "ms", "share %",
      "GFLOP/s");
  for (const OpRow& op : row.profile) {
    const std::string rate = op.flops > 0 ? fmt::format("{:.1f}", 1e-9 * op.flops / op.seconds) : "-";
    out += fmt::format("{:<24} {:<8} {:>6} {:>10.3f} {:>7.1f} {:>10}\n", op.op, name_of(op.pass), op.calls,
                       1e3 * op.seconds, 100 * op.seconds / total, rate);
  }
}

std::string timing_json(const Timing& time) {
  return fmt::format(R"({{"median": {}, "least": {}, "most": {}}})", json_text(time.median),
                     json_text(time.least), json_text(time.most));
}

std::string part_json(const BenchPart& part, const MachinePeaks& peaks) {
  const Shares shares(part, peaks);
  return fmt::format(
      R"("seconds": {}, "gflop": {}, "gigabytes": {}, "kernels": {}, "convolution_share": {}, "copy_share": {})",
      timing_json(part.time), json_text(1e-9 * part.work.flops), json_text(1e-9 * part.work.bytes),
      part.work.kernels, json_text(shares.convolution), json_text(shares.copy));
}

std::string row_json(const BenchRow& row, const MachinePeaks& peaks) {
  std::string out = fmt::format(
      "    {{\"task\": {}, \"precision\": {}, \"batch\": {}, \"replayed\": {},\n     {},\n"
      "     \"images_per_second\": {}, \"first_seconds\": {}, \"peak_bytes\": {}, \"held_bytes\": {},\n"
      "     \"parts\": [",
      json_text(row.task), json_text(std::string(om::name_of(row.precision))), row.batch, row.replayed,
      part_json(row.whole, peaks), json_text(static_cast<double>(row.batch) / row.whole.time.median),
      json_text(row.first), row.peak, row.held);
  for (const BenchPart& part : row.parts)
    out += fmt::format("{}\n       {{\"name\": {}, {}}}", &part == &row.parts.front() ? "" : ",",
                       json_text(part.name), part_json(part, peaks));
  out += "]";
  if (!row.profile.empty()) {
    out += ",\n     \"profile\": [";
    for (const OpRow& op : row.profile)
      out += fmt::format(
          "{}\n       {{\"op\": {}, \"pass\": \"{}\", \"calls\": {}, \"seconds\": {}, \"gflop\": {}}}",
          &op == &row.profile.front() ? "" : ",", json_text(op.op), name_of(op.pass), op.calls,
          json_text(op.seconds), json_text(1e-9 * op.flops));
    out += "]";
  }
  return out + "}";
}

}  // namespace

std::string bench_table(const BenchReport& report) {
  std::string out = fmt::format("{}\n{}\n", report.device, report.model);
  for (const MachinePeaks& peaks : report.peaks)
    out += fmt::format("{}: a 3x3 convolution here makes {:.1f} GFLOP/s, a copy {:.1f} GB/s\n",
                       om::name_of(peaks.precision), 1e-9 * peaks.flops, 1e-9 * peaks.bytes);
  out += fmt::format("\n{:<11} {:<9} {:>5} {:>10} {:>10} {:>10} {:>10} {:>6} {:>6} {:>9} {:>9} {:>9} {:>8}\n",
                     "task", "precision", "batch", "ms", "least", "most", "GFLOP", "conv %", "copy %",
                     "images/s", "peak MiB", "held MiB", "first s");
  for (const BenchRow& row : report.rows) {
    const MachinePeaks& peaks = peaks_of(report, row.precision);
    out += fmt::format(
        "{:<11} {:<9} {:>5} {} {:>9.2f} {:>9.1f} {:>9.1f} {:>8.2f}\n", row.task, om::name_of(row.precision),
        row.batch, cells(row.whole, peaks), static_cast<double>(row.batch) / row.whole.time.median,
        static_cast<double>(row.peak) / kMebi, static_cast<double>(row.held) / kMebi, row.first);
    for (const BenchPart& part : row.parts)
      out += fmt::format("  {:<25} {}\n", part.name, cells(part, peaks));
  }
  for (const BenchRow& row : report.rows)
    if (!row.profile.empty()) add_profile(out, row);
  return out;
}

std::string bench_json(const BenchReport& report) {
  std::string out = fmt::format("{{\n  \"device\": {},\n  \"model\": {},\n  \"peaks\": [",
                                json_text(report.device), json_text(report.model));
  for (const MachinePeaks& peaks : report.peaks)
    out += fmt::format("{}\n    {{\"precision\": {}, \"convolution_gflops\": {}, \"copy_gigabytes\": {}}}",
                       &peaks == &report.peaks.front() ? "" : ",",
                       json_text(std::string(om::name_of(peaks.precision))), json_text(1e-9 * peaks.flops),
                       json_text(1e-9 * peaks.bytes));
  out += "],\n  \"rows\": [";
  for (const BenchRow& row : report.rows)
    out += (&row == &report.rows.front() ? "\n" : ",\n") + row_json(row, peaks_of(report, row.precision));
  return out + "]\n}\n";
}

std::string ranks_table(const RanksReport& report) {
  std::string out =
      fmt::format("{}\n{}\n{}\n\n{:<9} {:>5} {:>5} {:>9} {:>9} {:>11} {:>9} {:>10} {:>8} {:>9} {:>7} {:>6}\n",
                  report.device, report.model, report.engine, "precision", "ranks", "batch", "alone ms",
                  "apart ms", "together ms", "sums ms", "images/s", "scaling", "visible %", "busy %", "MB");
  for (const RanksRow& row : report.rows)
    out += fmt::format(
        "{:<9} {:>5} {:>5} {:>9.3f} {:>9.3f} {:>11.3f} {:>9.3f} {:>10.2f} {:>8.3f} {:>9.2f} {:>7.2f} "
        "{:>6.1f}\n",
        name_of(row.precision), row.ranks, row.batch, 1e3 * row.alone.median, 1e3 * row.apart.median,
        1e3 * row.together.median, 1e3 * row.sums.median, row.images_per_second(), row.scaling(),
        100 * row.visible_share(), 100 * row.busy_share(), 1e-6 * static_cast<double>(row.bytes));
  return out;
}

std::string ranks_json(const RanksReport& report) {
  std::string out = fmt::format("{{\n  \"device\": {},\n  \"model\": {},\n  \"engine\": {},\n  \"rows\": [",
                                json_text(report.device), json_text(report.model), json_text(report.engine));
  for (const RanksRow& row : report.rows)
    out += fmt::format(
        "{}\n    {{\"task\": \"train\", \"precision\": {}, \"ranks\": {}, \"batch\": {}, \"replayed\": {},\n"
        "     \"alone\": {}, \"apart\": {},\n     \"together\": {}, \"sums\": {},\n"
        "     \"images_per_second_a_rank\": {}, \"scaling\": {}, \"visible_share\": {}, \"busy_share\": {}, "
        "\"bytes\": {}}}",
        &row == &report.rows.front() ? "" : ",", json_text(std::string(name_of(row.precision))), row.ranks,
        row.batch, row.replayed, timing_json(row.alone), timing_json(row.apart), timing_json(row.together),
        timing_json(row.sums), json_text(row.images_per_second()), json_text(row.scaling()),
        json_text(row.visible_share()), json_text(row.busy_share()), row.bytes);
  return out + "]\n}\n";
}

}  // namespace om
