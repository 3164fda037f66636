#include "train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include "io/atomic_file.h"
#include "io/image_folder.h"
#include "io/model_file.h"
#include "io/same_file.h"
#include "io/shown.h"
#include "nn/initial.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"
#include "train/precision_choice.h"
#include "train/run_folder.h"
#include "train/run_inputs.h"
#include "train/run_pictures.h"
#include "train/stage.h"
#include "train/start.h"

namespace om {
namespace {

/// What a resumed run may find elsewhere, told by content (train/run_inputs.h).
constexpr std::pair<const char*, std::string TrainConfig::*> kMovable[] = {
    {"generator", &TrainConfig::generator}, {"images", &TrainConfig::images}, {"val", &TrainConfig::val}};

std::string absolute(const std::string& path) {
  return path.empty() ? path : std::filesystem::absolute(path).lexically_normal().string();
}

/// The settings that the run will have: the stored ones on resuming (a larger `iterations` extends them),
/// else the given ones with absolute paths.
/// `moved` gets the names of inputs that the caller names elsewhere than the run had them.
TrainConfig resolve(const TrainConfig& given, const TrainOptions& options, const RunFolder& folder,
                    std::vector<std::string>& moved) {
  if (options.out.empty()) fail<UsageError>("'out' is missing: the folder of the run");
  if (options.resume && folder.has_settings()) {
    TrainConfig stored;
    apply_json_file(stored, folder.config_file());
    resolve_defaults(stored);
    std::vector<std::string> keys = options.given;
    const auto iterations = std::find(keys.begin(), keys.end(), "iterations");
    if (iterations != keys.end() && given.iterations > stored.iterations) {
      stored.iterations = given.iterations;
      keys.erase(iterations);
    }
    for (const auto& [name, path] : kMovable) {
      const auto key = std::find(keys.begin(), keys.end(), name);
      if (key == keys.end() || (stored.*path).empty() || same_file(stored.*path, given.*path)) continue;
      stored.*path = absolute(given.*path);
      moved.emplace_back(name);
      keys.erase(key);
    }
    expect_equal(stored, given, keys);
    check(stored);
    return stored;
  }
  if (!options.resume && folder.holds_a_run())
    fail<UsageError>(folder.path(),
                     ": holds a run already; --resume continues it, another --out starts a new one");
  if (folder.holds_a_run())
    fail<InputError>(folder.config_file(), ": is missing, so the run cannot be resumed");
  if (options.resume && (given.generator.empty() || given.images.empty()))
    fail<UsageError>(folder.path(), ": holds no run to resume");
  if (options.resume && options.log) options.log(folder.path() + ": holds no run yet; this one begins");
  TrainConfig config = given;
  for (std::string* path :
       {&config.generator, &config.init, &config.images, &config.val, &config.lpips, &config.lpips_heads})
    *path = absolute(*path);
  check(config);
  resolve_defaults(config);
  return config;
}

LoaderOptions loader_options(const TrainConfig& config, std::int64_t size, int threads) {
  LoaderOptions options;
  options.size = static_cast<int>(size);
  options.batch = static_cast<int>(config.batch);
  options.seed = static_cast<std::uint64_t>(config.seed);
  options.threads = threads;
  if (config.task != "denoise") return options;
  // Which noise a picture gets follows from its place in the stream: another in each epoch, the same on
  // resuming.
  options.make_pair = [settings = config.denoise_settings(), sigmas = config.sigmas, side = options.size,
                       seed = options.seed](const Image& image, std::int64_t position) {
    const std::uint64_t picture = picture_of(position);
    return denoise_pair(image, draw_sigma(sigmas, seed, picture), settings, side, seed, picture);
  };
  return options;
}

/// Pairs to validate on: the noise follows from the picture, so that it is the same each time.
RunPictures::MakePair validation_pairs(const TrainConfig& config, std::int64_t size) {
  if (config.task != "denoise") return {};
  return [settings = config.denoise_settings(), sigmas = config.sigmas, side = static_cast<int>(size),
          seed = static_cast<std::uint64_t>(config.seed)](const Image& image) {
    const std::uint64_t picture = picture_of(image);
    return denoise_pair(image, draw_sigma(sigmas, seed, picture), settings, side, seed, picture);
  };
}

/// The shortest text of the float that a tensor holds.
std::string json(const Tensor& scalar) { return fmt::format("{}", static_cast<float>(scalar.item())); }

class Run {
 public:
  Run(const TrainConfig& given, const TrainOptions& options, Backend& backend);
  TrainResult operator()();

 private:
  void start_or_resume();
  bool resume();
  void write_settings() const;
  std::int64_t stored_iterations() const;
  void expect_same_inputs() const;
  void expect_same_run(const std::string& path, const TrainingCheckpoint& checkpoint) const;
  void enter(int stage);
  void step();
  void log_step(const StepResult& result);
  bool settle(bool scheduled);
  bool show_pictures(bool scheduled);
  void save(bool settled);
  void prune();
  TrainResult result(bool interrupted) const;

  bool stopped() const { return options_.stop != nullptr && options_.stop->load(); }
  bool ends_a_stage(std::int64_t i) const {
    return i == total_ || (config_.two_stages() && i == steps_before(config_, 2));
  }
  bool on_schedule(std::int64_t i) const { return i % config_.checkpoint_every == 0 || ends_a_stage(i); }
  /// The run's first stage of two knows no noise heads yet.
  NoiseMaps noise() const {
    return training_->recipe().random_noise ? NoiseMaps::random : NoiseMaps::predicted;
  }
  void append(const std::string& members) {
    metrics_->append(
        fmt::format(R"({{"iteration": {}, {}, "stage": {}}})", state_.iteration, members, stage_));
  }
  void log(const std::string& line) const {
    if (options_.log) options_.log(line);
  }

  const TrainOptions& options_;
  Backend& backend_;
  RunFolder folder_;
  std::vector<std::string> moved_;  // inputs that lie elsewhere than before
  TrainConfig config_;
  PrecisionScope scope_;  // the whole run computes in it
  std::int64_t total_;    // steps of all stages
  RandomSource random_;
  std::unique_ptr<Autoencoder> model_;
  std::unique_ptr<Lpips> lpips_;
  std::unique_ptr<ImageLoader> loader_;
  std::unique_ptr<ImageFolder> val_;
  std::unique_ptr<RunPictures> pictures_;
  int stage_ = 1;
  std::optional<Training> training_;  // of that stage
  std::unique_ptr<MetricsLog> metrics_;
  TrainingState state_;
  RunInputs inputs_;
  std::int64_t saved_ = 0;  // iteration of the newest checkpoint; 0: none
};

Run::Run(const TrainConfig& given, const TrainOptions& options, Backend& backend)
    : options_(options),
      backend_(backend),
      folder_(options.out),
      config_(resolve(given, options, folder_, moved_)),
      scope_(precision_on(precision_named(config_.precision), backend)),
      total_(total_steps(config_)),
      random_(static_cast<std::uint64_t>(config_.seed), backend),
      model_(make_model(config_, random_, backend)) {
  // What a checkpoint holds is not read again: the file may be gone by then.
  if (!config_.init.empty() && folder_.checkpoints().empty())
    for (const std::string& line : start_from(config_.init, *model_, config_.projection())) log(line);
  if (!config_.lpips.empty()) {
    lpips_ = load_lpips(config_.lpips, config_.lpips_heads, backend_);
    lpips_->set_trainable(false);
    state_.lpips = fingerprint(*lpips_);
  }
  if (!config_.val.empty()) val_ = std::make_unique<ImageFolder>(config_.val, config_.recursive);
  const std::int64_t size = model_->decoder().size();
  loader_ = std::make_unique<ImageLoader>(ImageFolder(config_.images, config_.recursive),
                                          loader_options(config_, size, options_.loader_threads));
  pictures_ = std::make_unique<RunPictures>(
      *model_, loader_->folder(), val_.get(), static_cast<std::uint64_t>(config_.seed), backend_,
      options_.stop, [this](const std::string& line) { log(line); }, validation_pairs(config_, size));
  state_.settings = to_json(config_, false);
  state_.generator = fingerprint(model_->decoder());
  state_.images = static_cast<std::int64_t>(loader_->folder().size());
  inputs_ = {state_.generator, listing_of(loader_->folder()), val_ ? listing_of(*val_) : ""};
  enter(1);
}

void Run::enter(int stage) {
  stage_ = stage;
  training_.emplace(*model_, lpips_.get(), stage_recipe(config_, stage), random_);
}

TrainResult Run::operator()() {
  start_or_resume();
  log(precision_header(precision_named(config_.precision), backend_));
  if (state_.iteration == 0 && !show_pictures(true)) return result(true);
  if (!state_.settled && !settle(true)) return result(true);
  while (state_.iteration < total_) {
    if (stopped()) {
      if (state_.iteration != saved_) save(true);
      return result(true);
    }
    if (const int stage = stage_of(config_, state_.iteration + 1); stage != stage_) enter(stage);
    step();
    if (!settle(on_schedule(state_.iteration))) return result(true);
  }
  prune();
  save_autoencoder(folder_.model_file(), *model_, {{"config", state_.settings}});
  return result(false);
}

void Run::start_or_resume() {
  // Before anything is written: is there an image at all? The batch is read again by the first step.
  loader_->next();
  loader_->seek(0);
  const bool fresh = !options_.resume || !folder_.has_settings();
  if (!fresh) expect_same_inputs();
  folder_.create();
  metrics_ = std::make_unique<MetricsLog>(folder_.metrics_file());  // locks the folder
  if (fresh) write_settings();
  folder_.remove_temporaries();
  if (!options_.resume || !resume()) metrics_->cut(-1, false);
  if (!fresh && (stored_iterations() != config_.iterations || !moved_.empty())) write_settings();
  if (static_cast<std::size_t>(state_.images) != loader_->folder().size()) {
    log(fmt::format("{}: holds {} images, {} when the run began: its order differs from now on",
                    config_.images, loader_->folder().size(), state_.images));
    state_.images = static_cast<std::int64_t>(loader_->folder().size());
  }
}

/// The settings last: where they stand, all that resuming reads is there.
void Run::write_settings() const {
  write_run_inputs(folder_.inputs_file(), inputs_);
  const std::string settings = to_json(config_, true);
  write_file(folder_.config_file(), std::as_bytes(std::span(settings)));
}

/// UsageError where what lies at another place than before is not what the run began with.
void Run::expect_same_inputs() const {
  const RunInputs before = read_run_inputs(folder_.inputs_file());
  for (const std::string& name : moved_) {
    const bool weights = name == "generator";
    const auto input = weights ? &RunInputs::generator : name == "val" ? &RunInputs::val : &RunInputs::images;
    if (before.*input == inputs_.*input) continue;
    fail<UsageError>("'", name, "' is ", shown(path_of(config_, name)),
                     weights ? ", whose weights" : ", whose files' names or sizes",
                     (before.*input).empty()
                         ? " cannot be compared with those of the run: it did not keep them"
                         : " are not those that the run began with");
  }
}

std::int64_t Run::stored_iterations() const {
  TrainConfig stored;
  apply_json_file(stored, folder_.config_file());
  return stored.iterations;
}

/// InputError where the checkpoint is of another run than the settings and files make; a line where the run
/// is to be longer than the checkpoint knows.
void Run::expect_same_run(const std::string& path, const TrainingCheckpoint& checkpoint) const {
  const TrainingState& state = checkpoint.state();
  TrainConfig stored;
  apply_json(stored, state.settings, path);  // older ones lack keys
  resolve_defaults(stored);
  const std::int64_t before = std::exchange(stored.iterations, config_.iterations);
  if (before > config_.iterations || to_json(stored, false) != state_.settings)
    fail<InputError>(path, ": was written with other settings than ", folder_.config_file(), " has now");
  if (state.generator != state_.generator)
    fail<InputError>(config_.generator, ": is not the generator that this run began with");
  if (!checkpoint.old_format() && state.lpips != state_.lpips)
    fail<InputError>(config_.lpips.empty() ? folder_.config_file() : config_.lpips,
                     ": is not the perceptual loss that this run began with");
  if (before == config_.iterations) return;
  const int stage = stages_of(config_);
  const StageRecipe recipe = stage_recipe(config_, stage);
  const std::int64_t done = std::max<std::int64_t>(0, state.iteration - steps_before(config_, stage));
  log(fmt::format("{} iterations where the run had {}: the cosine{} spans them all from now on, {:.4g} next",
                  config_.iterations, before, stage == 2 ? " of stage 2" : "",
                  recipe.rate(recipe.rates.main.value_or(*recipe.rates.noise_heads), done)));
}

/// False where there is no checkpoint. A broken one is reported and the one before it taken.
bool Run::resume() {
  const std::vector<std::int64_t> there = folder_.checkpoints();
  for (auto newest = there.rbegin(); newest != there.rend(); ++newest) {
    const std::string path = folder_.checkpoint_file(*newest);
    std::optional<TrainingCheckpoint> checkpoint;
    try {
      checkpoint.emplace(path);
      if (checkpoint->state().iteration != *newest)
        fail<InputError>(path, ": is of iteration ", checkpoint->state().iteration);
    } catch (const InputError& error) {
      log(fmt::format("{}; trying the checkpoint before it", error.what()));
      continue;
    }
    expect_same_run(path, *checkpoint);
    const TrainingState& stored = checkpoint->state();
    if (const int stage = stage_of(config_, stored.iteration); stage != stage_) enter(stage);
    checkpoint->fill(*model_, training_->adam());
    if (checkpoint->old_format())
      log(fmt::format("{}: of the old format, whose counters no checksum covers", path));
    state_.iteration = saved_ = stored.iteration;
    state_.position = stored.position;
    state_.random = stored.random;
    state_.settled = stored.settled;
    state_.images = stored.images;
    random_.set_state(stored.random);
    loader_->seek(stored.position);
    metrics_->cut(stored.iteration, stored.settled);
    if (!checkpoint->old_format() && metrics_->fingerprint() != stored.metrics)
      log(fmt::format("{}: its lines up to iteration {} are not those of the run; they are left as they are",
                      folder_.metrics_file(), stored.iteration));
    log(fmt::format("resumed from {}", path));
    return true;
  }
  if (!there.empty())
    fail<InputError>(folder_.path(),
                     ": none of its checkpoints can be used; without them the run would start anew");
  return false;
}

void Run::step() {
  const ImageBatch batch = loader_->next();
  for (const std::string& line : loader_->take_warnings()) log(line);
  const auto tensor = [&](const std::vector<std::uint8_t>& pixels) {
    return to_tensor(pixels, config_.batch, model_->decoder().size(), backend_);
  };
  const Tensor targets = tensor(batch.pixels), images = batch.inputs.empty() ? targets : tensor(batch.inputs);
  const std::int64_t before = state_.iteration - steps_before(config_, stage_);
  const StepResult done = training_->step(before, images, targets);
  const double loss = done.loss.item();
  bool finite = std::isfinite(loss);
  for (const Tensor& norm : done.norms) finite = finite && std::isfinite(norm.item());
  if (!finite)
    fail("iteration ", state_.iteration + 1, ": the loss or its gradient is not finite (loss ", loss,
         "); training ends here, ",
         saved_ > 0 ? text("checkpoint ", saved_, " is kept") : "no checkpoint was written",
         "; a smaller 'lr' may help");

  ++state_.iteration;
  state_.position = loader_->position();
  state_.random = random_.state();
  log_step(done);
  if (options_.after_step) options_.after_step({state_.iteration, total_, config_.batch, loss});
}

void Run::log_step(const StepResult& done) {
  if (state_.iteration % config_.log_every != 0 && !ends_a_stage(state_.iteration)) return;
  const std::vector<ParameterGroup>& groups = training_->adam().groups();
  std::string line = fmt::format(R"("loss": {}, "mse": {})", json(done.loss), json(done.mse));
  if (done.lpips.defined()) line += fmt::format(R"(, "lpips": {})", json(done.lpips));
  line += fmt::format(R"(, "lr": {})", groups[0].lr);
  if (groups.size() > 1 && training_->rate(0, 0) != training_->rate(1, 0))
    line += fmt::format(R"(, "lr_noise_heads": {})", groups[1].lr);
  line += R"(, "grad_norm": {)";
  for (std::size_t g = 0; g < done.norms.size(); ++g)
    line += fmt::format(R"({}"{}": {})", g == 0 ? "" : ", ", groups[g].name, json(done.norms[g]));
  append(line + "}");
}

/// What is due after an iteration: samples, validation, the model of a first stage and the leak figure of the
/// last, and then the checkpoint that says that they are done. False where a stop came in between; the
/// checkpoint then says that they are not.
bool Run::settle(bool scheduled) {
  const bool shown = show_pictures(scheduled);
  if (!scheduled) return true;
  save(shown);
  if (shown) prune();
  return shown;
}

bool Run::show_pictures(bool scheduled) {
  const std::int64_t i = state_.iteration;
  if (i > 0 && config_.sample_every > 0 && (i % config_.sample_every == 0 || ends_a_stage(i)))
    pictures_->write_samples(folder_.sample_file(i), noise());
  if (!scheduled) return true;
  if (val_) {
    const std::optional<std::string> figures = pictures_->validate(i, noise());
    if (!figures) return false;
    append(fmt::format(R"("validation": {{{}}})", *figures));
  }
  if (config_.two_stages() && i == steps_before(config_, 2))
    save_first_stage(folder_.stage1_file(), *model_, state_.settings);
  if (val_ && i > 0 && i == total_) {
    const std::optional<std::string> figures = pictures_->measure_leak();
    if (!figures) return false;
    append(fmt::format(R"("leak": {{{}}})", *figures));
  }
  return true;
}

void Run::save(bool settled) {
  metrics_->sync();
  state_.settled = settled;
  state_.metrics = metrics_->fingerprint();
  save_checkpoint(folder_.checkpoint_file(state_.iteration), state_, *model_, training_->adam());
  saved_ = state_.iteration;
}

/// Removes older checkpoints that a stop left off the schedule, and those beyond keep_checkpoints.
void Run::prune() {
  std::vector<std::int64_t> kept;
  for (const std::int64_t i : folder_.checkpoints()) {
    if (i >= saved_ || on_schedule(i)) {
      kept.push_back(i);
    } else {
      folder_.remove_checkpoint(i);
    }
  }
  if (config_.keep_checkpoints == 0) return;
  for (std::size_t i = 0; i + static_cast<std::size_t>(config_.keep_checkpoints) < kept.size(); ++i)
    folder_.remove_checkpoint(kept[i]);
}

TrainResult Run::result(bool interrupted) const {
  const std::size_t unreadable = loader_->unreadable() + (val_ ? pictures_->unreadable() : 0);
  return {interrupted, state_.iteration, interrupted ? "" : folder_.model_file(),
          static_cast<std::int64_t>(unreadable)};
}

}  // namespace

TrainResult train(const TrainConfig& config, const TrainOptions& options, Backend& backend) {
  return Run(config, options, backend)();
}

}  // namespace om
