// onemodel train: an encoder for a frozen generator, from a folder of images.
//
// The settings are TrainConfig's defaults, over them those of --config, over them the command line's.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <memory>

#include "examples/common.h"
#include "examples/inputs.h"
#include "examples/ranks.h"
#include "io/same_file.h"
#include "io/shown.h"
#include "tensor/error.h"
#include "train/config.h"
#include "train/dry_run.h"
#include "train/progress.h"
#include "train/run_folder.h"
#include "train/run_settings.h"
#include "train/trainer.h"

namespace om {
namespace {

struct TrainCommand {
  TrainConfig config;
  std::string out, config_file;
  bool resume = false, dry_run = false, accept_other_ranks = false;
  std::optional<std::int64_t> ranks;
};

/// The settings' keys among the options given: --encoder-width is encoder_width.
std::vector<std::string> given_keys(const Common& common) {
  std::vector<std::string> keys;
  for (std::string name : common.given) {
    std::replace(name.begin(), name.end(), '-', '_');
    const auto known = [&](const ConfigKey& key) { return key.name == name; };
    if (std::any_of(config_keys().begin(), config_keys().end(), known)) keys.push_back(name);
  }
  return keys;
}

/// What check() says of a configuration, or nothing.
std::optional<std::string> complaint_about(const TrainConfig& config) {
  try {
    check(config);
  } catch (const UsageError& error) {
    return error.what();
  }
  return std::nullopt;
}

/// Lays the file's settings under the command line's; returns the file's keys. InputError where a value of
/// the file is wrong.
std::vector<std::string> apply_file(TrainConfig& config, const std::string& file,
                                    const std::vector<std::string>& given) {
  TrainConfig merged;
  std::vector<std::string> keys = apply_json_file(merged, file);
  overlay(merged, config, given);
  // the file is at fault for what the command line alone would not be told
  const auto complaint = complaint_about(merged);
  if (complaint && complaint != complaint_about(config)) fail<InputError>(file, ": ", *complaint);
  config = merged;
  return keys;
}

/// As a shell takes it for one word; with what a terminal would not show as `$'\\x1b'`, which bash, zsh and
/// ksh take.
std::string quoted(const std::string& word) {
  const auto plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || std::strchr("/._-+=:,@", c);
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
  const std::string escaped = shown(word);
  const bool raw = escaped == word;
  std::string out = raw ? "'" : "$'";
  for (std::size_t i = 0; i < word.size();) {
    const std::size_t length = showable(std::string_view(word).substr(i));
    const std::string part = word.substr(i, std::max<std::size_t>(length, 1));
    if (part == "'") {
      out += raw ? "'\\''" : "\\'";
    } else if (!raw && (length == 0 || part == "\\")) {
      out += length == 0 ? shown(part) : "\\\\";
    } else {
      out += part;
    }
    i += part.size();
  }
  return out + "'";
}

std::string resume_line(const TrainCommand& command, const Common& common) {
  std::string line = "onemodel train --out " + quoted(command.out) + " --resume";
  if (common.backend != "cpu") line += " --backend " + common.backend;
  if (common.threads > 0) line += text(" --threads ", common.threads);
  if (command.ranks) line += text(" --ranks ", *command.ranks);
  return line;
}

/// Whether a path leads into a folder.
bool lies_in(const std::string& path, const std::string& folder) {
  std::error_code error;
  const auto inside = std::filesystem::weakly_canonical(std::filesystem::absolute(path), error);
  const auto outside = std::filesystem::weakly_canonical(std::filesystem::absolute(folder), error);
  const auto [end, rest] = std::mismatch(outside.begin(), outside.end(), inside.begin(), inside.end());
  return !error && (end == outside.end() || end->empty());
}

/// UsageError where the run's files would take the place of what it reads, or an option would be without
/// effect.
void check_command(const TrainCommand& command, const TrainConfig& config,
                   const std::vector<std::string>& given) {
  const RunFolder run(command.out);
  if (command.accept_other_ranks && !command.resume) fail<UsageError>("--accept-other-ranks needs --resume");
  if (config.task != "denoise")
    for (const char* key : {"sigmas", "noise_channels", "noise_at", "grey"})
      if (std::find(given.begin(), given.end(), key) != given.end() && !command.resume)
        fail<UsageError>("'", key, "' needs --task denoise");
  std::vector<std::string> files = {command.config_file};
  for (const ConfigKey& key : config_keys())
    if (key.path) files.push_back(path_of(config, key.name));
  std::erase(files, "");
  for (const std::string& output : {run.metrics_file(), run.model_file()}) refuse_overwriting(output, files);
  for (const std::string& folder : {config.images, config.val})
    if (!folder.empty() &&
        (same_file(folder, run.samples_folder()) || (config.recursive && lies_in(run.path(), folder))))
      fail<UsageError>(shown(folder), ": is where the run writes its samples; the images must lie elsewhere");
}

/// The command line's precision goes before the file's, and both before the backend's default. What a run to
/// be resumed has is left to train().
void settle_precision(TrainConfig& config, const Common& common, const std::vector<std::string>& given,
                      const Backend& backend) {
  Common asked = common;
  const bool in_file = std::find(given.begin(), given.end(), "precision") != given.end();
  if (asked.precision.empty() && in_file) asked.precision = config.precision;
  config.precision = name_of(precision_of(asked, backend));
}

std::string mebibytes(std::size_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

using Lines = std::vector<std::pair<std::string, std::string>>;

/// What several ranks give one another in a step.
void add_ranks(Lines& lines, const MemoryPlan& plan, const TrainConfig& config) {
  const std::int64_t images = config.batch * plan.ranks;
  lines.insert(lines.begin(),
               {"ranks", fmt::format("{}, {} image{} each in a step, {} together; of each of them:",
                                     plan.ranks, config.batch, config.batch == 1 ? "" : "s", images)});
  const std::size_t largest = *std::max_element(plan.sums.begin(), plan.sums.end());
  lines.emplace_back("summed over ranks, a step",
                     plan.sums.size() == 1 ? mebibytes(plan.summed()) + " at once"
                                           : fmt::format("{} in {} parts, the largest {}, the last {}",
                                                         mebibytes(plan.summed()), plan.sums.size(),
                                                         mebibytes(largest), mebibytes(plan.sums.back())));
  lines.emplace_back("  copies of a part", plan.copies > 0 ? mebibytes(plan.copies)
                                                           : "none in this memory; the engine's own aside");
}

/// What the run would take, on stdout.
int predict(const TrainConfig& config, Backend& backend, int ranks) {
  const std::vector<MemoryPlan> plans = plan_training(config, backend, ranks);
  for (const MemoryPlan& plan : plans) {
    if (plans.size() > 1) std::cout << "stage " << plan.stage << "\n";
    Lines lines = {{"peak memory", mebibytes(plan.peak())},
                   {"a training step", mebibytes(plan.step_peak)},
                   {"  weights, trained", mebibytes(plan.trained)},
                   {"  weights, frozen", mebibytes(plan.frozen)},
                   {"  optimiser", mebibytes(plan.optimiser)},
                   {"  activations kept", mebibytes(plan.activations)},
                   {"  gradients, in passing", mebibytes(plan.passing())},
                   {"  kernels' workspace", plan.scratch_known ? mebibytes(plan.scratch) : "not all known"}};
    if (plan.validation_peak > 0) lines.emplace_back("validation", mebibytes(plan.validation_peak));
    lines.emplace_back("held, with what is reused", mebibytes(plan.held));
    lines.emplace_back("a step's work",
                       fmt::format("{:.1f} GFLOP, {} images", 1e-9 * plan.step.flops, config.batch));
    if (ranks > 1) add_ranks(lines, plan, config);
    for (const auto& [what, amount] : lines) std::cout << fmt::format("{:<26} {}\n", what, amount);
  }
  return kDone;
}

int train_rank(const TrainCommand& command, Rank& rank, const Common& given) {
  const Common& common = rank.common;
  TrainConfig config = command.config;
  config.seed = common.seed;
  TrainOptions options;
  options.given = given_keys(common);
  if (!command.config_file.empty()) {
    const std::vector<std::string> keys = apply_file(config, command.config_file, options.given);
    options.given.insert(options.given.end(), keys.begin(), keys.end());
  }
  check_command(command, config, given_keys(common));  // a run's config.json names every key
  Backend& backend = open_backend(common);
  settle_precision(config, common, options.given, backend);
  options.out = command.out;
  options.resume = command.resume;
  if (command.dry_run) {
    if (command.resume) config = resolve_settings(config, options, RunFolder(command.out)).config;
    return predict(config, backend, rank.planned);
  }

  Progress progress;
  options.stop = &interrupted();
  options.log = [&](const std::string& line) { progress.line(line); };
  if (rank.first()) options.after_step = [&](const StepReport& step) { progress.report(step); };
  options.accept_other_ranks = command.accept_other_ranks;
  catch_interrupts();
  options.member = rank.member;
  options.together = rank.connect(backend);
  const TrainResult result = train(config, options, backend);
  if (rank.first() && result.unreadable > 0)
    progress.line(text("skipped ", result.unreadable, " unreadable images"));
  if (result.interrupted) throw Interrupted{resume_line(command, given)};
  if (!rank.first()) return kDone;
  std::cout << result.model << "\n";
  return kDone;
}

/// What a run that failed leaves in its folder to go on from.
std::string kept_of(const std::string& out) {
  const RunFolder folder(out);
  const std::vector<std::int64_t> checkpoints = folder.checkpoints();
  if (checkpoints.empty()) return "";
  return text("checkpoint ", checkpoints.back(), " is kept: ", folder.checkpoint_file(checkpoints.back()));
}

int train_encoder(const TrainCommand& command, const Common& common) {
  if (command.dry_run) {
    const RanksWanted ranks = ranks_wanted(command.ranks);
    if (!ranks.first) return kDone;  // rank 0 says it
    Rank one;
    one.planned = ranks.size;
    one.common = ranks.size > 1 ? share_of(common, ranks.here) : common;
    return train_rank(command, one, common);
  }
  return on_ranks(
      command.ranks, common, [&](Rank& rank) { return train_rank(command, rank, common); },
      [&] { return kept_of(command.out); });
}

Command train_command() {
  auto c = std::make_shared<TrainCommand>();
  TrainConfig& s = c->config;
  return {
      "train",
      "Train an encoder for a generator on a folder of images",
      {{"--generator", "FILE", &s.generator, "Checkpoint with the generator, PyTorch's or ours"},
       {"--images", "DIR", &s.images, "Folder of PNG, JPEG and WebP files to train on"},
       {"--val", "DIR", &s.val, "Folder to measure on"},
       {"--recursive", "", &s.recursive, kRecursiveHelp},
       {"--task",
        "reconstruct|denoise",
        &s.task,
        "What the pictures are shown as: themselves, or with noise to remove",
        false,
        {"reconstruct", "denoise"}},
       {"--sigmas", "S,S,..", &s.sigmas,
        "denoise: deviations (of 255), one drawn for each picture (default 5,10,15,25,35,50)"},
       {"--noise-channels",
        "independent|shared",
        &s.noise_channels,
        "denoise: noise of its own for each channel or one for all (default independent)",
        false,
        {"independent", "shared"}},
       {"--noise-at",
        "file|model",
        &s.noise_at,
        "denoise: noise added at the file's resolution or at the model's (default file)",
        false,
        {"file", "model"}},
       {"--grey", "", &s.grey, "denoise: grey pictures and noise"},
       {"--out", "RUN", &c->out, "Folder of the run: settings, metrics, checkpoints, model", kRequired},
       {"--strategy",
        "NAME",
        &s.strategy,
        "plain: all at once; two stages against the semantic leak (default plain)",
        false,
        {"plain", "two-networks", "learning-rate"}},
       {"--stage1-iterations", "N", &s.stage1_iterations,
        "Steps of the first of two stages (default: --iterations)"},
       {"--backbone-rate", "F", &s.backbone_rate,
        "learning-rate: stage 2 trains all but the noise heads at F x --lr (default 0.01)"},
       {"--init", "MODEL", &s.init, "Model whose encoder, of two the latent one, is the start"},
       {"--config", "FILE", &c->config_file,
        "JSON file with settings named as these options, with _ for -; options win, paths in it are\n"
        "relative to its folder"},
       {"--resume", "", &c->resume, "Go on with the run in RUN"},
       {"--dry-run", "", &c->dry_run, "Say what memory and work a run takes; trains and writes nothing"},
       {"--iterations", "N", &s.iterations,
        "Steps, of the last stage; its rate's cosine spans them (default 100000)"},
       {"--batch", "B", &s.batch, "Images in a step, of each rank (default 4)"},
       ranks_option(c->ranks),
       {"--norm-batches", "K", &s.norm_batches,
        "At the end norms take the mean statistics of K batches, not of the last ten or so (default 0: "
        "those)"},
       {"--sync-batch-norm", "", &s.sync_batch_norm,
        "Norms by the statistics of all ranks' images, not of each rank's"},
       {"--accept-other-ranks", "", &c->accept_other_ranks,
        "With --resume: go on with a run that another number of ranks began"},
       {"--lr", "RATE", &s.lr, "Rate of the first step (default 1e-4)"},
       {"--lr-min", "RATE", &s.lr_min, "Rate of the last step (default 1e-8)"},
       {"--lr-noise-heads", "RATE", &s.lr_noise_heads, "First rate of the noise heads (default: --lr)"},
       {"--beta1", "X", &s.beta1, "Adam's (default 0.5)"},
       {"--beta2", "X", &s.beta2, "Adam's (default 0.999)"},
       {"--eps", "X", &s.eps, "Adam's (default 1e-8)"},
       {"--weight-decay", "X", &s.weight_decay, "Added to the gradient after clipping (default 1e-4)"},
       {"--clip-norm", "X", &s.clip_norm, "Largest norm of a group's gradients; 0: any (default 1)"},
       {"--encoder-width", "F", &s.encoder_width, "Encoder's channels over the generator's (default 1)"},
       {"--latent", "wplus|z", &s.latent, "What the encoder predicts (default wplus)", false, {"wplus", "z"}},
       {"--lpips", "BACKBONE", &s.lpips, "torchvision's weights of VGG16, AlexNet or SqueezeNet"},
       {"--lpips-heads", "HEADS", &s.lpips_heads, "The lpips package's weights for it"},
       {"--checkpoint-activations", "", &s.checkpoint_activations,
        "Recompute activations in the backward pass: less memory, more time, the same result"},
       {"--checkpoint-every", "K", &s.checkpoint_every, "Steps (default 1000)"},
       {"--keep-checkpoints", "K", &s.keep_checkpoints, "Only the newest; 0: all (default 0)"},
       {"--sample-every", "K", &s.sample_every, "Steps; 0: no sample sheets (default 1000)"},
       {"--log-every", "K", &s.log_every, "Steps for a line of metrics.jsonl (default 1)"}},
      [c](const Common& common) { return train_encoder(*c, common); },
      "the models of every figure and table; section 3.2"};
}

const Subcommand here(train_command);

}  // namespace
}  // namespace om
