// onemodel report: what training runs did, as one file for a browser.
#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <span>
#include <thread>

#include "examples/common.h"
#include "examples/report_page.h"
#include "io/atomic_file.h"
#include "io/same_file.h"
#include "io/shown.h"
#include "train/run_folder.h"

namespace om {
namespace {

struct ReportCommand {
  std::vector<std::string> runs;
  std::string out = "report.html", title = "onemodel: report of runs";
  std::int64_t every = 10;
  bool watch = false;
};

constexpr std::int64_t kLongestWait = 86'400;

/// Whether there is more to come: steps that are missing, or what follows the last one (validation, the
/// model) while a process is at it.
bool goes_on(const RunHistory& run) {
  const bool is_run = run.metrics.lines > 0 || !run.settings.empty();
  return run.trained_in || (is_run && !run.finished && !run.all_steps_done());
}

/// Reads the runs and writes the page. Whether one of them goes on.
bool write_report(const ReportCommand& command) {
  std::vector<RunHistory> runs;
  std::int64_t lines = 0, skipped = 0;
  for (const std::string& folder : command.runs) {
    runs.push_back(read_run(folder));
    lines += runs.back().metrics.lines;
    skipped += runs.back().metrics.skipped;
  }
  const bool going_on = std::any_of(runs.begin(), runs.end(), goes_on);
  const std::size_t count = runs.size();
  const int refresh = command.watch && going_on ? static_cast<int>(command.every) : 0;
  const std::string page = report_page(std::move(runs), {command.title, refresh});
  write_file(command.out, std::as_bytes(std::span(page)));
  note(fmt::format("{}: {} run{}, {} lines of metrics{}, {:.1f} MB", command.out, count,
                   count == 1 ? "" : "s", lines, skipped > 0 ? fmt::format(", {} skipped", skipped) : "",
                   static_cast<double>(page.size()) / 1e6));
  return going_on;
}

/// Writes it anew whenever a run has gone on, until all are over.
void watch(const ReportCommand& command) {
  const auto states = [&] {
    std::string all;
    for (const std::string& folder : command.runs) all += state_of_run(folder);
    return all;
  };
  std::string before = states();
  bool going_on = write_report(command);
  while (going_on) {
    const auto next = std::chrono::steady_clock::now() + std::chrono::seconds(command.every);
    while (std::chrono::steady_clock::now() < next) {
      stop_if_interrupted();
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    if (std::string now = states(); now != before) {
      before = std::move(now);
      going_on = write_report(command);
    }
  }
}

int report(const ReportCommand& command) {
  if (command.every < 1 || command.every > kLongestWait)
    fail<UsageError>("report: --every must lie between 1 and ", kLongestWait, " seconds, got ",
                     command.every);
  // nothing that a run's folder holds has such a name
  if (const auto ending = std::filesystem::path(command.out).extension();
      ending != ".html" && ending != ".htm")
    fail<UsageError>("report: --out expects a name that ends in .html, got ", shown(command.out));
  std::vector<std::string> inputs;
  for (const std::string& folder : command.runs) {
    const RunFolder run(folder);
    inputs.insert(inputs.end(), {run.config_file(), run.inputs_file(), run.metrics_file(), run.model_file(),
                                 run.stage1_file()});
  }
  refuse_overwriting(command.out, inputs);
  expect_writable(command.out);
  catch_interrupts();
  command.watch ? watch(command) : void(write_report(command));
  return kDone;
}

Command report_command() {
  auto c = std::make_shared<ReportCommand>();
  return {"report",
          "Show what training runs did: one HTML file of curves, samples, figures and settings",
          {{"RUNS", "", &c->runs, "Folders of training runs, of one still going on too, and of tables",
            kRequired},
           {"-o,--out", "FILE", &c->out, ".html file to write (default report.html)"},
           {"--title", "TEXT", &c->title, "The page's title"},
           {"--watch", "", &c->watch, "Write it anew while a run goes on, until all are over"},
           {"--every", "S", &c->every, "With --watch: at most every S seconds (default 10)"}},
          [c](const Common&) { return report(*c); }};
}

const Subcommand here(report_command);

}  // namespace
}  // namespace om
