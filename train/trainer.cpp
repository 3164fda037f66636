#include "train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "autograd/recompute.h"
#include "io/atomic_file.h"
#include "io/image_folder.h"
#include "io/model_file.h"
#include "nn/batch_norm.h"
#include "nn/initial.h"
#include "tensor/registry.h"
#include "train/checkpoint.h"
#include "train/pixels.h"
#include "train/precision_choice.h"
#include "train/run_folder.h"
#include "train/run_inputs.h"
#include "train/run_pictures.h"
#include "train/run_ranks.h"
#include "train/run_settings.h"
#include "train/stage.h"
#include "train/start.h"
#include "train/step_reports.h"

namespace om {
namespace {

/// While it lives, a backend that chooses among engines keeps its choice in this folder, and finds it there.
class PlansIn {
 public:
  explicit PlansIn(std::string folder) : before_(plan_folder()) { set_plan_folder(std::move(folder)); }
  ~PlansIn() { set_plan_folder(before_); }
  PlansIn(const PlansIn&) = delete;
  PlansIn& operator=(const PlansIn&) = delete;

 private:
  std::string before_;
};

class Run {
 public:
  Run(const TrainConfig& given, const TrainOptions& options, Backend& backend);
  TrainResult operator()();

 private:
  void read_init();
  void start_or_resume();
  void begin_folder();
  void stand_at(const TrainingState& stored);
  bool resume();
  void write_settings() const;
  bool changed_settings() const;
  void expect_same_run(const std::string& path, const TrainingCheckpoint& checkpoint) const;
  void enter(int stage);
  void choose_engines();
  void find_plans_anew();
  void step();
  void take_step(const EnqueuedStep& step, const StepFigures& figures);
  bool settle(bool scheduled);
  bool show_pictures(bool scheduled);
  void settle_norms();
  ImageBatch next_batch();
  Tensor on_device(const std::vector<std::uint8_t>& pixels);
  void save(bool settled);
  void prune();
  TrainResult result(bool interrupted);

  bool has_moved(const char* key) const {
    return std::find(settings_.moved.begin(), settings_.moved.end(), key) != settings_.moved.end();
  }
  bool stopped() const { return options_.stop != nullptr && options_.stop->load(); }
  bool ends_a_stage(std::int64_t i) const {
    return i == total_ || (config_.two_stages() && i == steps_before(config_, 2));
  }
  bool on_schedule(std::int64_t i) const { return i % config_.checkpoint_every == 0 || ends_a_stage(i); }
  /// The run's first stage of two knows no noise heads yet.
  NoiseMaps noise() const {
    return training_->recipe().random_noise ? NoiseMaps::random : NoiseMaps::predicted;
  }
  void append(std::int64_t iteration, int stage, const std::string& members) {
    if (metrics_)  // rank 0's
      metrics_->append(fmt::format(R"({{"iteration": {}, {}, "stage": {}}})", iteration, members, stage));
  }
  void log(const std::string& line) const {
    if (options_.log && ranks_.first()) options_.log(line);
  }

  const TrainOptions& options_;
  RunRanks ranks_{options_.member, options_.together};
  Backend& backend_;
  RunFolder folder_;
  RunSettings settings_;
  TrainConfig& config_ = settings_.config;
  PrecisionScope precision_;  // the whole run computes in it
  RecomputeScope recompute_;
  SyncedNorms norms_;
  std::int64_t total_;  // steps of all stages
  RandomSource random_;
  std::unique_ptr<Autoencoder> model_;
  std::unique_ptr<Lpips> lpips_;
  std::unique_ptr<ImageLoader> loader_;
  std::unique_ptr<ImageFolder> val_;
  UnreadablePictures unreadable_{ranks_, [this](const std::string& line) { log(line); }};
  std::unique_ptr<RunPictures> pictures_;
  int stage_ = 1;
  bool engines_chosen_ = false;       // for that stage
  std::optional<Training> training_;  // of that stage
  PixelTable pixel_table_;
  PixelFeed pixel_feed_;
  std::unique_ptr<MetricsLog> metrics_;
  std::optional<PlansIn> plans_;
  TrainingState state_;
  RunInputs inputs_;
  std::int64_t saved_ = 0;  // iteration of the newest checkpoint; 0: none
  StepReports reports_{[this](const auto& step, const auto& figures) { take_step(step, figures); }};
};

Run::Run(const TrainConfig& given, const TrainOptions& options, Backend& backend)
    : options_(options),
      backend_(backend),
      folder_(options.out),
      settings_(shared_settings(given, options, folder_, ranks_)),
      precision_(precision_on(precision_named(config_.precision), backend)),
      recompute_(config_.checkpoint_activations),
      norms_(config_.sync_batch_norm ? ranks_.together() : nullptr),
      total_(total_steps(config_)),
      random_(static_cast<std::uint64_t>(config_.seed), backend),
      model_(make_model(config_, random_, backend)),
      pixel_table_(backend),
      pixel_feed_(backend) {
  read_init();
  if (!config_.lpips.empty()) {
    lpips_ = load_lpips(config_.lpips, config_.lpips_heads, backend_);
    lpips_->set_trainable(false);
    state_.lpips = fingerprint(*lpips_);
  }
  if (!config_.val.empty()) val_ = std::make_unique<ImageFolder>(config_.val, config_.recursive);
  const std::int64_t size = model_->decoder().size();
  loader_ = std::make_unique<ImageLoader>(
      ImageFolder(config_.images, config_.recursive),
      loader_options(config_, size, options_.loader_threads, backend_, ranks_.rank(), ranks_.size()));
  pictures_ = std::make_unique<RunPictures>(
      *model_, loader_->folder(), val_.get(), static_cast<std::uint64_t>(config_.seed), backend_,
      ranks_.several() ? nullptr : options_.stop, [this](const std::string& line) { log(line); },
      validation_pairs(config_, size), ranks_, unreadable_);
  state_.settings = to_json(config_, false);
  state_.generator = fingerprint(model_->decoder());
  state_.images = static_cast<std::int64_t>(loader_->folder().size());
  inputs_.generator = state_.generator;
  inputs_.images = listing_of(loader_->folder());
  inputs_.val = val_ ? listing_of(*val_) : "";
  inputs_.lpips = state_.lpips;
  state_.ranks = ranks_.size();
  ranks_.expect_same(inputs_.generator, config_.generator + ": holds another generator");
  ranks_.expect_same(inputs_.lpips, config_.lpips + ": holds another perceptual loss");
  ranks_.expect_same(inputs_.images, config_.images + ": holds other files");
  ranks_.expect_same(inputs_.val, config_.val + ": holds other files");
  enter(1);
}

/// What a checkpoint holds is not read again, the file may be gone by then; but one that is said to have
/// moved is compared.
void Run::read_init() {
  if (config_.init.empty() || !ranks_.first()) return;
  if (folder_.checkpoints().empty()) {
    const Start start = start_from(config_.init, *model_, config_.projection());
    for (const std::string& line : start.lines) log(line);
    inputs_.init = start.encoder;
  } else if (has_moved("init")) {
    inputs_.init = encoder_fingerprint(config_.init, config_.projection(), backend_);
  }
}

void Run::enter(int stage) {
  stage_ = stage;
  engines_chosen_ = false;
  training_.emplace(*model_, lpips_.get(), stage_recipe(config_, stage), random_, ranks_.together());
}

TrainResult Run::operator()() {
  start_or_resume();
  log(precision_header(precision_named(config_.precision), backend_));
  if (ranks_.several())
    log(fmt::format("{} ranks, {} image{} each in a step; {}", ranks_.size(), config_.batch,
                    config_.batch == 1 ? "" : "s", ranks_.together()->description()));
  if (state_.iteration == 0 && !show_pictures(true)) return result(true);
  if (!state_.settled && !settle(true)) return result(true);
  while (state_.iteration < total_) {
    if (ranks_.stops_at(state_.iteration, stopped())) {
      if (state_.iteration != saved_) save(true);
      return result(true);
    }
    if (const int stage = stage_of(config_, state_.iteration + 1); stage != stage_) enter(stage);
    if (!engines_chosen_) choose_engines();
    step();
    if (!settle(on_schedule(state_.iteration))) return result(true);
  }
  reports_.drain();
  ranks_.check();
  if (ranks_.first()) {
    prune();
    save_autoencoder(folder_.model_file(), *model_, {{"config", state_.settings}});
  }
  return result(false);
}

void Run::start_or_resume() {
  // Before anything is written: is there an image at all? The batch is read again by the first step.
  loader_->next();
  loader_->seek(0);
  if (ranks_.first()) begin_folder();
  state_.random = random_.state();  // a fresh run's too: drawn maps are the same on all ranks
  ranks_.broadcast(state_, saved_);
  if (!ranks_.first()) stand_at(state_);
  ranks_.broadcast(*model_, training_->adam());
  find_plans_anew();
}

/// Once rank 0 has kept what its backend chose: a backend reads the folder again where its name is another.
void Run::find_plans_anew() {
  if (ranks_.first()) return;
  const std::string folder = folder_.plans_folder();
  const std::string other = plan_folder() == folder ? folder + "/." : folder;
  plans_.reset();
  plans_.emplace(other);
}

/// A device times engines and keeps the fastest; ranks that each took their own would round differently from
/// one run to the next. So rank 0 goes first, through a step that changes nothing.
void Run::choose_engines() {
  engines_chosen_ = true;
  if (!ranks_.several() || backend_.host_memory()) return;
  if (ranks_.first()) {
    std::vector<std::pair<Tensor, Tensor>> statistics;
    for (const Autoencoder::Part& part : model_->encoders())
      for (const Entry& entry : part.encoder->entries())
        if (entry.role == Role::buffer) statistics.emplace_back(entry.value, entry.value.clone());
    const std::int64_t size = model_->decoder().size();
    const Tensor blank = Tensor::zeros({config_.batch, size, size, 3}, DType::f32, backend_);
    const philox::State before = random_.state();
    std::vector<Tensor> noise;
    if (training_->recipe().random_noise) noise = model_->decoder().random_noise(1, random_);
    random_.set_state(before);
    const SyncedNorms alone(nullptr);
    backward_step(*model_, lpips_.get(), training_->adam(), blank, noise, {});
    for (const auto& [value, kept] : statistics) value.assign(kept);
  }
  ranks_.share("");
  find_plans_anew();
}

/// What rank 0 does of a start: the run's folder is its own.
void Run::begin_folder() {
  const bool fresh = !options_.resume || !folder_.has_settings();
  if (!fresh) {
    const RunInputs before = read_run_inputs(folder_.inputs_file());
    expect_same_inputs(before, inputs_, settings_, !folder_.checkpoints().empty());
    if (inputs_.init.empty()) inputs_.init = before.init;
  }
  folder_.create();
  metrics_ = std::make_unique<MetricsLog>(folder_.metrics_file());  // locks the folder
  plans_.emplace(folder_.plans_folder());
  if (fresh) write_settings();
  folder_.remove_temporaries();
  if (!options_.resume || !resume()) metrics_->cut(-1, false);
  if (!fresh && changed_settings()) write_settings();
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

bool Run::changed_settings() const {
  TrainConfig stored;
  apply_json_file(stored, folder_.config_file());
  return !settings_.moved.empty() || stored.iterations != config_.iterations ||
         stored.checkpoint_activations != config_.checkpoint_activations;
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
  if (state.ranks != ranks_.size() && !options_.accept_other_ranks)
    fail<UsageError>(path, ": was written by ", state.ranks, state.ranks == 1 ? " rank" : " ranks",
                     ", now there ", ranks_.several() ? text("are ", ranks_.size()) : "is 1",
                     "; --accept-other-ranks goes on with ", ranks_.size() * config_.batch,
                     " images a step in place of ", state.ranks * config_.batch);
  if (!checkpoint.old_format() && state.lpips != state_.lpips)
    fail<InputError>(config_.lpips.empty() ? folder_.config_file() : config_.lpips,
                     ": is not the perceptual loss that this run began with");
  if (checkpoint.old_format() && (has_moved("lpips") || has_moved("lpips_heads")))
    fail<InputError>(path, ": is of the old format and does not tell the perceptual loss, which has moved");
  if (before == config_.iterations) return;
  const int stage = stages_of(config_);
  const StageRecipe recipe = stage_recipe(config_, stage);
  const std::int64_t done = std::max<std::int64_t>(0, state.iteration - steps_before(config_, stage));
  log(fmt::format("{} iterations where the run had {}: the cosine{} spans them all from now on, {:.4g} next",
                  config_.iterations, before, stage == 2 ? " of stage 2" : "",
                  recipe.rate(recipe.rates.main.value_or(*recipe.rates.noise_heads), done)));
}

void Run::stand_at(const TrainingState& stored) {
  if (const int stage = stage_of(config_, stored.iteration); stage != stage_) enter(stage);
  state_.iteration = stored.iteration;
  state_.position = stored.position;
  state_.random = stored.random;
  state_.settled = stored.settled;
  random_.set_state(stored.random);
  loader_->seek(stored.position);
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
    stand_at(stored);
    checkpoint->fill(*model_, training_->adam());
    if (checkpoint->old_format())
      log(fmt::format("{}: of the old format, whose counters no checksum covers", path));
    saved_ = stored.iteration;
    state_.images = stored.images;
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

ImageBatch Run::next_batch() {
  ImageBatch batch = loader_->next();
  unreadable_.add(loader_->take_warnings());
  return batch;
}

Tensor Run::on_device(const std::vector<std::uint8_t>& pixels) {
  const std::int64_t size = model_->decoder().size();
  return pixel_table_(pixel_feed_(pixels, {config_.batch, size, size, 3}));
}

/// Over the first batches of the run, so that doing it twice, before and after a stop, comes to the same.
void Run::settle_norms() {
  loader_->seek(0);
  average_norms(*model_, config_.norm_batches, [&] {
    const ImageBatch batch = next_batch();
    return on_device(batch.inputs.empty() ? batch.pixels : batch.inputs);
  });
  loader_->seek(state_.position);
}

/// Enqueues a step. What it came to is known when take_step() is called, at most StepReports::kMostAhead
/// steps later.
void Run::step() {
  const ImageBatch batch = next_batch();
  const Tensor targets = on_device(batch.pixels);
  const Tensor images = batch.inputs.empty() ? targets : on_device(batch.inputs);
  const std::int64_t before = state_.iteration - steps_before(config_, stage_);
  const StepResult done = training_->step(before, images, targets);

  ++state_.iteration;
  state_.position = loader_->position();
  state_.random = random_.state();
  const std::vector<ParameterGroup>& groups = training_->adam().groups();
  EnqueuedStep step{state_.iteration, stage_,
                    state_.iteration % config_.log_every == 0 || ends_a_stage(state_.iteration)};
  step.rates = fmt::format(R"("lr": {})", groups[0].lr);
  if (groups.size() > 1 && training_->rate(0, 0) != training_->rate(1, 0))
    step.rates += fmt::format(R"(, "lr_noise_heads": {})", groups[1].lr);
  for (const ParameterGroup& group : groups) step.groups.push_back(group.name);
  reports_.add(std::move(step), done);
}

void Run::take_step(const EnqueuedStep& step, const StepFigures& figures) {
  if (!figures.finite())
    fail("iteration ", step.iteration, ": the loss or its gradient is not finite (loss ", figures.loss,
         "); training ends here, ",
         saved_ > 0 ? text("checkpoint ", saved_, " is kept") : "no checkpoint was written",
         "; a smaller 'lr' may help");
  if (step.logged) append(step.iteration, step.stage, metrics_members(step, figures));
  if (options_.after_step)
    options_.after_step({step.iteration, total_, config_.batch * ranks_.size(), figures.loss});
}

/// What is due after an iteration: samples, validation, the model of a first stage and the leak figure of the
/// last, and then the checkpoint that says that they are done. False where a stop came in between; the
/// checkpoint then says that they are not.
bool Run::settle(bool scheduled) {
  const bool shown = show_pictures(scheduled);
  if (!scheduled) return true;
  save(shown);
  if (shown && ranks_.first()) prune();
  return shown;
}

bool Run::show_pictures(bool scheduled) {
  const std::int64_t i = state_.iteration;
  const bool sample = i > 0 && config_.sample_every > 0 && (i % config_.sample_every == 0 || ends_a_stage(i));
  if (sample || scheduled) reports_.drain();  // nothing is shown of a step that came to no number
  if (scheduled && config_.norm_batches > 0 && ends_a_stage(i)) settle_norms();
  if (sample && ranks_.first()) pictures_->write_samples(folder_.sample_file(i), noise());
  if (!scheduled) return true;
  if (val_) {
    ranks_.broadcast_statistics(*model_);
    const std::optional<std::string> figures = pictures_->validate(i, noise());
    if (!figures) return false;
    append(i, stage_, fmt::format(R"("validation": {{{}}})", *figures));
  }
  if (!ranks_.first()) return true;
  ranks_.check();
  if (config_.two_stages() && i == steps_before(config_, 2))
    save_first_stage(folder_.stage1_file(), *model_, state_.settings);
  if (val_ && i > 0 && i == total_) {
    const std::optional<std::string> figures = pictures_->measure_leak();
    if (!figures) return false;
    append(i, stage_, fmt::format(R"("leak": {{{}}})", *figures));
  }
  return true;
}

void Run::save(bool settled) {
  reports_.drain();  // no checkpoint of one either
  ranks_.check();    // nor of a step whose sums broke off: drained and not ended here, they were whole
  if (!ranks_.first()) {
    saved_ = state_.iteration;
    return;
  }
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

TrainResult Run::result(bool interrupted) {
  ranks_.gather("");  // every rank is here, and what it told before too
  unreadable_.hear();
  return {interrupted, state_.iteration, interrupted ? "" : folder_.model_file(), unreadable_.count()};
}

}  // namespace

TrainResult train(const TrainConfig& config, const TrainOptions& options, Backend& backend) {
  return Run(config, options, backend)();
}

}  // namespace om
