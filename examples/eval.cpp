// onemodel eval: models against folders of images, as the paper's tables have it.
#include <algorithm>
#include <memory>

#include "examples/batches.h"
#include "examples/common.h"
#include "examples/lists.h"
#include "examples/measure.h"
#include "examples/models.h"

namespace om {
namespace {

struct EvalOptions {
  std::vector<std::string> models;
  std::string generator, task = "reconstruct", at = "file", channels = "independent";
  std::vector<double> sigmas = {15, 25, 50};
  std::optional<std::int64_t> batch;
  bool grey = false;
  MeasureOptions measure;
};

EvalTask task_of(const EvalOptions& options, const Common& common) {
  EvalTask task;
  task.seed = static_cast<std::uint64_t>(common.seed);
  task.batch = options.batch;
  const bool denoise = options.task == "denoise";
  for (const char* option : {"sigmas", "noise-at", "noise-channels", "grey"})
    if (!denoise && std::find(common.given.begin(), common.given.end(), option) != common.given.end())
      fail<UsageError>("eval: --", option, " needs --task denoise");
  if (!denoise) return task;
  check_sigmas("eval", options.sigmas);
  task.sigmas = options.sigmas;
  task.noise = {noise_at(options.at), noise_channels(options.channels), options.grey};
  return task;
}

int evaluate(const EvalOptions& options, const Common& common) {
  const std::vector<Named> models = named_once("eval", "--model", options.models),
                           data = named_once("eval", "--data", options.measure.data);
  for (const Named& model : models)
    if (model.name == kInputName) fail<UsageError>("eval: no model may be named '", kInputName, "'");
  check_batch("eval", options.batch);
  EvalTask task = task_of(options, common);

  const Session session(common);
  Backend& backend = session.backend();
  std::vector<EvalData> folders = folders_of(data, options.measure.recursive);
  // all of them before the work, so that a broken one is not met after hours
  std::vector<std::unique_ptr<Autoencoder>> loaded;
  std::vector<EvalNetwork> networks;
  for (const Named& model : models) {
    loaded.push_back(open_autoencoder(model.value, options.generator, backend));
    if (!loaded.back()->predicts_latent())
      fail<InputError>(model.value, ": the encoder predicts no latents, only noise");
    networks.push_back(network_of(model.name, *loaded.back(), task.seed, backend));
  }
  return measure(options.measure, std::move(folders), std::move(task), networks, backend);
}

Command eval_command() {
  auto o = std::make_shared<EvalOptions>();
  return {
      "eval",
      "Measure models on folders of images: PSNR, SSIM and FID as tables",
      {{"--model", "NAME=FILE", &o->models,
        "Checkpoint with encoder and generator, and its name in the tables", kRequired},
       {"--data", "NAME=DIR", &o->measure.data, "Folder of images, and its name in the tables", kRequired},
       {"--out", "DIR", &o->measure.out, "Folder for table.txt, table.csv and table.json", kRequired},
       generator_option(&o->generator),
       {"--inception", "FILE", &o->measure.inception, "pytorch-fid's Inception weights, for FID"},
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
       {"--recursive", "", &o->measure.recursive, "Read the images in the folders' subfolders as well"},
       {"--cache", "DIR", &o->measure.cache, "Where features are kept (default ~/.cache/onemodel/features)"}},
      [o](const Common& common) { return evaluate(*o, common); },
      "Tables 1 and 3-5; table 2 with --task denoise"};
}

const Subcommand here(eval_command);

}  // namespace
}  // namespace om
