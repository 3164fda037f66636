// onemodel eval: models against folders of images, as the paper's tables have it.
#include <fmt/core.h>

#include <iostream>
#include <memory>
#include <set>

#include "examples/batches.h"
#include "examples/common.h"
#include "examples/lists.h"
#include "examples/models.h"
#include "io/atomic_file.h"
#include "io/image_folder.h"
#include "io/inception_file.h"
#include "io/model_file.h"
#include "train/evaluation.h"
#include "train/progress.h"

namespace om {
namespace {

struct EvalOptions {
  std::vector<std::string> models, data;
  std::string out, generator, inception, cache, task = "reconstruct", at = "file", channels = "independent";
  std::vector<double> sigmas = {15, 25, 50};
  std::optional<std::int64_t> batch;
  bool grey = false, recursive = false;
};

/// The words cut at their first `=`; UsageError where a name stands twice.
std::vector<Named> named_once(const char* option, const std::vector<std::string>& words) {
  std::vector<Named> all;
  std::set<std::string> names;
  for (const std::string& word : words) {
    all.push_back(named(option, word));
    if (!names.insert(all.back().name).second)
      fail<UsageError>("eval: ", option, " has the name '", all.back().name, "' twice");
  }
  return all;
}

EvalTask task_of(const EvalOptions& options, const Common& common) {
  EvalTask task;
  task.seed = static_cast<std::uint64_t>(common.seed);
  task.batch = options.batch;
  const bool denoise = options.task == "denoise";
  for (const char* option : {"sigmas", "noise-at", "noise-channels", "grey"})
    if (!denoise && std::find(common.given.begin(), common.given.end(), option) != common.given.end())
      fail<UsageError>("eval: --", option, " needs --task denoise");
  if (!denoise) return task;
  for (const double sigma : options.sigmas)
    if (!(sigma > 0 && sigma <= kMaxSigma))
      fail<UsageError>("eval: --sigmas must lie between 0 and ", kMaxSigma, ", got ", sigma);
  task.sigmas = options.sigmas;
  task.noise = {noise_at(options.at), noise_channels(options.channels), options.grey};
  return task;
}

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

int evaluate(const EvalOptions& options, const Common& common) {
  const std::vector<Named> models = named_once("--model", options.models),
                           data = named_once("--data", options.data);
  for (const Named& model : models)
    if (model.name == kInputName) fail<UsageError>("eval: no model may be named '", kInputName, "'");
  check_batch("eval", options.batch);
  EvalTask task = task_of(options, common);
  const bool denoise = !task.sigmas.empty();
  const std::size_t passes = std::max<std::size_t>(1, task.sigmas.size());

  const Session session(common);
  Backend& backend = session.backend();
  std::vector<EvalData> folders;
  std::int64_t total = 0;
  for (const Named& set : data) {
    folders.push_back({set.name, ImageFolder(set.value, options.recursive).files()});
    total += static_cast<std::int64_t>(folders.back().files.size() * models.size() * passes);
  }
  // all of them before the work, so that a broken one is not met after hours
  std::vector<std::unique_ptr<Autoencoder>> loaded;
  for (const Named& model : models) {
    loaded.push_back(open_autoencoder(model.value, options.generator, backend));
    if (!loaded.back()->predicts_latent())
      fail<InputError>(model.value, ": the encoder predicts no latents, only noise");
  }
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
    Evaluation evaluation(std::move(folders), std::move(task), with_network ? &network : nullptr, cache,
                          backend, hooks);
    for (std::size_t i = 0; i < models.size(); ++i) evaluation.run(models[i].name, *loaded[i]);
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

Command eval_command() {
  auto o = std::make_shared<EvalOptions>();
  return {"eval",
          "Measure models on folders of images: PSNR, SSIM and FID as tables",
          {{"--model", "NAME=FILE", &o->models,
            "Checkpoint with encoder and generator, and its name in the tables", kRequired},
           {"--data", "NAME=DIR", &o->data, "Folder of images, and its name in the tables", kRequired},
           {"--out", "DIR", &o->out, "Folder for table.txt, table.csv and table.json", kRequired},
           generator_option(&o->generator),
           {"--inception", "FILE", &o->inception, "pytorch-fid's Inception weights, for FID"},
           {"--task",
            "reconstruct|denoise",
            &o->task,
            "Give the images back (default), or remove noise that is added to them",
            false,
            {"reconstruct", "denoise"}},
           {"--sigmas", "LIST", &o->sigmas, "Deviations of the noise, of 255 (default 15,25,50)"},
           {"--noise-at",
            "file|model",
            &o->at,
            "Add the noise at the file's resolution (default) or at the model's",
            false,
            {"file", "model"}},
           {"--noise-channels",
            "shared|independent",
            &o->channels,
            "One noise for all channels, or one for each (default)",
            false,
            {"shared", "independent"}},
           {"--grey", "", &o->grey, "denoise: grey images in, grey results out, measured as such"},
           batch_option(&o->batch),
           {"--recursive", "", &o->recursive, "Read the images in the folders' subfolders as well"},
           {"--cache", "DIR", &o->cache, "Where features are kept (default ~/.cache/onemodel/features)"}},
          [o](const Common& common) { return evaluate(*o, common); },
          "Tables 1 and 3-5; table 2 with --task denoise"};
}

const Subcommand here(eval_command);

}  // namespace
}  // namespace om
