#include "examples/report_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>

#include "examples/web_files.h"
#include "io/atomic_file.h"
#include "io/data_url.h"
#include "io/image.h"
#include "io/markup.h"
#include "tensor/error.h"
#include "train/flat_json.h"

namespace om {
namespace {

constexpr std::size_t kSheets = 12, kPictures = 12, kAllPictures = 64, kTables = 20;  // shown, of a run
constexpr std::size_t kParts = 500, kBytesAPart = 90;  // a part's five points as text
constexpr std::size_t kCell = 300;                     // bytes of a text in a table

/// A JSON string in a page's script: no markup begins in it.
std::string page_text(std::string_view text) {
  std::string out;
  for (const char c : json_text(std::string(cut_text(text, kCell))))
    c == '<' ? out.append("\\u003c") : out.append(1, c);
  return out;
}

/// [item, item, ..]
template <class Items, class Text>
std::string list(const Items& items, const Text& text) {
  std::string out = "[";
  for (const auto& item : items) out.append(out.size() > 1 ? "," : "").append(text(item));
  return out + "]";
}

std::string numbers(const std::vector<double>& values) {
  return list(values, [](double value) { return fmt::format("{:.7g}", value); });
}

std::string numbers(const std::vector<std::int64_t>& values) {
  return list(values, [](std::int64_t value) { return fmt::format("{}", value); });
}

/// At most `count` places of `size`, first and last among them, evenly.
std::vector<std::size_t> spread(std::size_t size, std::size_t count) {
  std::vector<std::size_t> places;
  const std::size_t taken = std::min(size, count);
  for (std::size_t i = 0; i < taken; ++i)
    places.push_back(taken == 1 ? size - 1 : i * (size - 1) / (taken - 1));
  return places;
}

/// The page's pictures, each in as many bytes as its share is.
class Pictures {
 public:
  explicit Pictures(std::size_t count) : share_(kPictureBytes / std::max<std::size_t>(1, count)) {}

  /// The picture's place in the page's list; nothing where it cannot be read, with a note.
  std::optional<std::size_t> add(const std::string& file, std::vector<std::string>& notes) {
    try {
      urls_.push_back(picture_url(read_image(file), share_));
      return urls_.size() - 1;
    } catch (const InputError& error) {
      notes.emplace_back(error.what());
      return std::nullopt;
    }
  }
  std::string json() const {
    return list(urls_, [](const std::string& url) { return "\"" + url + "\""; });
  }

 private:
  std::size_t share_;
  std::vector<std::string> urls_;
};

std::string series_json(const MetricsSeries& metrics, std::size_t parts) {
  std::string out = "{";
  for (const auto& [name, series] : metrics.series) {
    const ThinSeries thin = thinned(series, parts);
    if (thin.points.values.empty()) continue;
    out +=
        fmt::format(R"({}{}: {{"count": {}, "x": {}, "y": {}, "mx": {}, "my": {}}})",
                    out.size() > 1 ? ",\n" : "", page_text(name), thin.count, numbers(thin.points.iterations),
                    numbers(thin.points.values), numbers(thin.means.iterations), numbers(thin.means.values));
  }
  return out + "}";
}

std::string table_json(const FoundTable& table) {
  return fmt::format(R"({{"name": {}, "columns": {}, "rows": {}}})", page_text(table.name),
                     list(table.columns, page_text),
                     list(table.rows, [](const auto& row) { return list(row, page_text); }));
}

/// How many of a run's sheets and pictures are shown.
struct Shown {
  std::vector<std::size_t> samples, pictures;
};

const char* state_of(const RunHistory& run) {
  // one that is resumed with more steps keeps its model until they are done
  if (run.finished && (!run.trained_in || run.all_steps_done())) return "finished";
  if (run.metrics.lines == 0 && run.settings.empty()) return "no run";
  // a run that is kept without its weights, or is about to write them
  return run.all_steps_done() ? "all steps done, no model here" : "not finished";
}

std::string run_json(RunHistory& run, const std::string& label, const Shown& shown, std::size_t parts,
                     Pictures& pictures) {
  std::string samples, found;
  for (const std::size_t i : shown.samples)
    if (const auto place = pictures.add(run.samples[i].second, run.notes))
      samples += fmt::format(R"({}{{"iteration": {}, "image": {}}})", samples.empty() ? "" : ", ",
                             run.samples[i].first, *place);
  for (const std::size_t i : shown.pictures)
    if (const auto place = pictures.add(run.folder + "/" + run.pictures[i], run.notes))
      found += fmt::format(R"({}{{"name": {}, "image": {}}})", found.empty() ? "" : ", ",
                           page_text(run.pictures[i]), *place);
  if (run.tables.size() > kTables) {
    run.notes.push_back(text(run.tables.size() - kTables, " tables more in its folder"));
    run.tables.resize(kTables);
  }
  return fmt::format(
      R"({{"label": {}, "state": "{}", "written": {}, "total": {}, "last": {}, "lines": {}, "skipped": {}, "stages": {},
"settings": {},
"series": {},
"samples": [{}], "samples_left": {}, "pictures": [{}], "pictures_left": {},
"tables": {}, "notes": {}}})",
      page_text(label), state_of(run), run.written ? text(*run.written) : "null",
      run.total ? text(*run.total) : "null", run.metrics.last, run.metrics.lines, run.metrics.skipped,
      list(run.metrics.stages,
           [](const auto& stage) { return fmt::format("[{},{}]", stage.first, stage.second); }),
      list(run.settings,
           [](const auto& pair) {
             return fmt::format("[{},{}]", page_text(pair.first), page_text(pair.second));
           }),
      series_json(run.metrics, parts), samples, run.samples.size() - shown.samples.size(), found,
      run.pictures.size() - shown.pictures.size(), list(run.tables, table_json), list(run.notes, page_text));
}

}  // namespace

std::vector<std::string> run_labels(const std::vector<RunHistory>& runs) {
  std::vector<std::string> labels;
  std::map<std::string, int> count;
  const auto name_of = [](const RunHistory& run) {
    const std::filesystem::path path = std::filesystem::path(run.folder).lexically_normal();
    const std::string name = (path.has_filename() ? path : path.parent_path()).filename().string();
    return name.empty() || name == "." || name == ".." ? run.folder : name;
  };
  for (const RunHistory& run : runs) {
    const auto same = std::count_if(runs.begin(), runs.end(),
                                    [&](const RunHistory& other) { return name_of(other) == name_of(run); });
    const std::string label = same > 1 ? run.folder : name_of(run);
    const int before = count[label]++;
    labels.push_back(before == 0 ? label : text(label, " (", before + 1, ")"));
  }
  return labels;
}

std::string report_page(std::vector<RunHistory> runs, const ReportOptions& options) {
  const std::vector<std::string> labels = run_labels(runs);
  const std::size_t most = kAllPictures / std::max<std::size_t>(1, runs.size());
  std::vector<Shown> shown;
  std::size_t pictures_shown = 0, series = 0;
  for (const RunHistory& run : runs) {
    shown.push_back({spread(run.samples.size(), std::clamp<std::size_t>(most / 2, 1, kSheets)),
                     spread(run.pictures.size(), std::clamp<std::size_t>(most / 2, 1, kPictures))});
    pictures_shown += shown.back().samples.size() + shown.back().pictures.size();
    series += run.metrics.series.size();
  }
  const std::size_t parts =
      std::clamp<std::size_t>(kPointBytes / (kBytesAPart * std::max<std::size_t>(1, series)), 20, kParts);
  Pictures pictures(pictures_shown);
  std::string all;
  for (std::size_t i = 0; i < runs.size(); ++i)
    all += (i > 0 ? ",\n" : "") + run_json(runs[i], labels[i], shown[i], parts, pictures);
  const std::string data = fmt::format("{{\"refresh\": {},\n\"runs\": [{}],\n\"images\": {}}}",
                                       options.refresh, all, pictures.json());
  const std::string title = in_markup(options.title);
  const std::string library = "/*\n" + std::string(web::copyright) + "*/\n" + std::string(web::chart_min_js);
  return web::fill(web::report_html, {{"title", title},
                                      {"look_css", web::look_css},
                                      {"report_css", web::report_css},
                                      {"data", data},
                                      {"chart_min_js", library},
                                      {"report_js", web::report_js},
                                      {"curves_js", web::curves_js}});
}

}  // namespace om
