#include "examples/measure.h"

#include <fmt/format.h>

#include <iostream>
#include <set>

#include "examples/common.h"
#include "io/atomic_file.h"
#include "io/image_folder.h"
#include "io/inception_file.h"
#include "train/progress.h"

namespace om {
namespace {

/// What the reader of a table must know beside it.
std::vector<std::string> notes_of(const std::vector<EvalRow>& rows, bool with_network, bool denoise) {
  std::vector<std::string> notes;
  if (denoise)
    notes.emplace_back(
        "Noise added at file resolution loses most of its strength in the resize: compare "
        "rows of one kind.");
  if (!with_network) {
    notes.push_back(
        text("FID: not measured, it needs --inception FILE with pytorch-fid's weights, ", kInceptionSource));
    return notes;
  }
  std::set<std::string> few;
  for (const EvalRow& row : rows)
    if (row.images < kFewImages && few.insert(row.data).second)
      notes.push_back(text("FID of ", row.data, ": from ", row.images, " images; under ", kFewImages,
                           " it depends on their number more than on what they show."));
  return notes;
}

void write_text(const std::filesystem::path& file, const std::string& content) {
  write_file(file.string(), std::as_bytes(std::span(content)));
}

}  // namespace

std::vector<Named> named_once(const std::string& command, const char* option,
                              const std::vector<std::string>& words) {
  std::vector<Named> all;
  std::set<std::string> names;
  for (const std::string& word : words) {
    all.push_back(named(option, word));
    if (!names.insert(all.back().name).second)
      fail<UsageError>(command, ": ", option, " has the name '", all.back().name, "' twice");
  }
  return all;
}

void check_sigmas(const std::string& command, const std::vector<double>& sigmas) {
  if (sigmas.empty()) fail<UsageError>(command, ": --sigmas names none");
  for (const double sigma : sigmas)
    if (!(sigma > 0 && sigma <= kMaxSigma))
      fail<UsageError>(command, ": --sigmas must lie between 0 and ", kMaxSigma, ", got ", sigma);
}

std::vector<EvalData> folders_of(const std::vector<Named>& data, bool recursive) {
  std::vector<EvalData> folders;
  for (const Named& set : data) folders.push_back({set.name, ImageFolder(set.value, recursive).files()});
  return folders;
}

int measure(const MeasureOptions& options, std::vector<EvalData> data, EvalTask task,
            const std::vector<EvalNetwork>& networks, Backend& backend) {
  const bool denoise = !task.sigmas.empty();
  const std::size_t passes = networks.size() * std::max<std::size_t>(1, task.sigmas.size());
  std::int64_t total = 0;
  for (const EvalData& set : data) total += static_cast<std::int64_t>(set.files.size() * passes);
  FidNetwork network;
  if (!options.inception.empty()) network = load_fid_network(options.inception, backend);
  const bool with_network = network.inception != nullptr;
  const std::filesystem::path out(options.out);
  make_folder(out);
  catch_interrupts();

  std::vector<EvalRow> rows;
  std::vector<std::pair<std::string, double>> speeds;
  {
    Progress progress;
    std::int64_t done = 0;
    ImageHooks hooks;
    hooks.say = [&](const std::string& line) { progress.line(line); };
    hooks.check = stop_if_interrupted;
    hooks.image_done = [&] { progress.advance(++done, total, 1, ""); };
    const FeatureCache cache(options.cache.empty() ? FeatureCache::standard_folder()
                                                   : std::filesystem::path(options.cache));
    Evaluation evaluation(std::move(data), std::move(task), with_network ? &network : nullptr, cache, backend,
                          hooks);
    for (const EvalNetwork& each : networks) evaluation.run(each);
    rows = evaluation.rows();
    speeds = evaluation.speeds();
  }
  const std::string table = text_table(rows, with_network, notes_of(rows, with_network, denoise));
  write_text(out / "table.txt", table);
  write_text(out / "table.csv", csv_table(rows));
  write_text(out / "table.json", json_table(rows));
  std::cout << table;
  for (const auto& [name, speed] : speeds)
    std::cout << fmt::format("{}: {:.2f} images per second\n", name, speed);
  return kDone;
}

}  // namespace om
