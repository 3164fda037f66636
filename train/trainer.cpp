#include "train/trainer.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <set>

#include "io/atomic_file.h"
#include "io/image_folder.h"
#include "io/model_file.h"
#include "io/resize.h"
#include "nn/initial.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"
#include "train/run_folder.h"
#include "train/schedule.h"
#include "train/training_step.h"

namespace om {
namespace {

constexpr std::size_t sample_images = 8;

std::string absolute(const std::string& path) {
  return path.empty() ? path : std::filesystem::absolute(path).lexically_normal().string();
}

/// The settings that the run will have: the stored ones on resuming, else the given ones with absolute paths.
TrainConfig resolve(const TrainConfig& given, const TrainOptions& options, const RunFolder& folder) {
  if (options.out.empty()) fail<UsageError>("'out' is missing: the folder of the run");
  if (options.resume && folder.has_settings()) {
    TrainConfig stored;
    apply_json_file(stored, folder.config_file());
    expect_equal(stored, given, options.given);
    check(stored);
    return stored;
  }
  if (!options.resume && folder.holds_a_run())
    fail<UsageError>(folder.path(),
                     ": holds a run already; --resume continues it, another --out starts a new one");
  if (folder.holds_a_run())
    fail<InputError>(folder.config_file(), ": is missing, so the run cannot be resumed");
  TrainConfig config = given;
  for (std::string* path :
       {&config.generator, &config.images, &config.val, &config.lpips, &config.lpips_heads})
    *path = absolute(*path);
  check(config);
  return config;
}

LoaderOptions loader_options(const TrainConfig& config, std::int64_t size, int threads) {
  LoaderOptions options;
  options.size = static_cast<int>(size);
  options.batch = static_cast<int>(config.batch);
  options.seed = static_cast<std::uint64_t>(config.seed);
  options.threads = threads;
  return options;
}

/// JSON of a number, null where it is undefined.
std::string json(const std::optional<double>& value) { return value ? fmt::format("{}", *value) : "null"; }
/// The shortest text of the float that a tensor holds.
std::string json(const Tensor& scalar) { return fmt::format("{}", static_cast<float>(scalar.item())); }

class Run {
 public:
  Run(const TrainConfig& given, const TrainOptions& options, Backend& backend);
  TrainResult operator()();

 private:
  std::unique_ptr<Autoencoder> make_model();
  std::vector<ParameterGroup> make_groups() const;
  void start_or_resume();
  bool resume();
  void step();
  void log_step(const StepResult& result, double lr);
  bool settle(bool scheduled);
  void write_samples();
  bool validate();
  void save(bool settled);
  void prune();
  TrainResult result(bool interrupted) const;

  bool stopped() const { return options_.stop != nullptr && options_.stop->load(); }
  bool on_schedule(std::int64_t i) const {
    return i % config_.checkpoint_every == 0 || i == config_.iterations;
  }
  void log(const std::string& line) const {
    if (options_.log) options_.log(line);
  }
  std::optional<Image> read_resized(const std::filesystem::path& file);

  const TrainOptions& options_;
  Backend& backend_;
  RunFolder folder_;
  TrainConfig config_;
  RandomSource random_;
  std::unique_ptr<Autoencoder> model_;
  std::unique_ptr<Lpips> lpips_;
  std::unique_ptr<ImageLoader> loader_;
  std::unique_ptr<ImageFolder> val_;
  Adam adam_;
  CosineSchedule main_rate_, noise_rate_;
  std::unique_ptr<MetricsLog> metrics_;
  TrainingState state_;
  std::int64_t saved_ = 0;  // iteration of the newest checkpoint; 0: none
  std::set<std::string> named_;
};

Run::Run(const TrainConfig& given, const TrainOptions& options, Backend& backend)
    : options_(options),
      backend_(backend),
      folder_(options.out),
      config_(resolve(given, options, folder_)),
      random_(static_cast<std::uint64_t>(config_.seed), backend),
      model_(make_model()),
      adam_(make_groups(),
            {config_.beta1, config_.beta2, config_.eps, config_.weight_decay, config_.clip_norm}),
      main_rate_{config_.lr, config_.lr_min, config_.iterations},
      noise_rate_{config_.lr_noise_heads.value_or(config_.lr),
                  std::min(config_.lr_min, config_.lr_noise_heads.value_or(config_.lr)), config_.iterations} {
  if (!config_.lpips.empty()) {
    lpips_ = load_lpips(config_.lpips, config_.lpips_heads, backend_);
    lpips_->set_trainable(false);
  }
  if (!config_.val.empty()) val_ = std::make_unique<ImageFolder>(config_.val);
  const std::int64_t size = model_->decoder().size();
  loader_ = std::make_unique<ImageLoader>(ImageFolder(config_.images),
                                          loader_options(config_, size, options_.loader_threads));
  state_.settings = to_json(config_, false);
  state_.generator = fingerprint(model_->decoder());
  state_.images = static_cast<std::int64_t>(loader_->folder().size());
}

std::unique_ptr<Autoencoder> Run::make_model() {
  std::unique_ptr<Decoder> decoder = load_generator(config_.generator, backend_);
  const EncoderConfig shape =
      EncoderConfig::for_decoder(*decoder, config_.projection(), config_.encoder_width);
  auto encoder = std::make_unique<Encoder>(shape, Placement{backend_});
  initialize(*encoder, random_);
  auto model = std::make_unique<Autoencoder>(std::move(encoder), std::move(decoder));
  prepare_training(*model);
  return model;
}

std::vector<ParameterGroup> Run::make_groups() const {
  return encoder_groups(model_->encoder(), config_.lr, config_.lr_noise_heads.value_or(config_.lr));
}

TrainResult Run::operator()() {
  start_or_resume();
  if (state_.iteration == 0 && !validate()) return result(true);
  if (!state_.settled && !settle(true)) return result(true);
  while (state_.iteration < config_.iterations) {
    if (stopped()) {
      if (state_.iteration != saved_) save(true);
      return result(true);
    }
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
  const bool fresh = !folder_.has_settings();
  folder_.create();
  if (fresh) {
    const std::string settings = to_json(config_, true);
    write_file(folder_.config_file(), std::as_bytes(std::span(settings)));
  }
  metrics_ = std::make_unique<MetricsLog>(folder_.metrics_file());
  folder_.remove_temporaries();
  if (!options_.resume || !resume()) metrics_->cut(-1, false);
  if (static_cast<std::size_t>(state_.images) != loader_->folder().size()) {
    log(fmt::format("{}: holds {} images, {} when the run began: its order differs from now on",
                    config_.images, loader_->folder().size(), state_.images));
    state_.images = static_cast<std::int64_t>(loader_->folder().size());
  }
}

/// False where there is no checkpoint. A broken one is reported and the one before it taken.
bool Run::resume() {
  const std::vector<std::int64_t> there = folder_.checkpoints();
  for (auto newest = there.rbegin(); newest != there.rend(); ++newest) {
    const std::string path = folder_.checkpoint_file(*newest);
    TrainingState state;
    try {
      state = load_checkpoint(path, model_->encoder(), adam_);
      if (state.iteration != *newest) fail<InputError>(path, ": is of iteration ", state.iteration);
    } catch (const InputError& error) {
      log(fmt::format("{}; trying the checkpoint before it", error.what()));
      continue;
    }
    if (state.settings != state_.settings)
      fail<InputError>(path, ": was written with other settings than ", folder_.config_file(), " has now");
    if (state.generator != state_.generator)
      fail<InputError>(config_.generator, ": is not the generator that this run began with");
    state_ = state;
    saved_ = state.iteration;
    random_.set_state(state.random);
    loader_->seek(state.position);
    metrics_->cut(state.iteration, state.settled);
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
  const Tensor images = to_tensor(batch.pixels, config_.batch, model_->decoder().size(), backend_);
  const double lr = main_rate_.at(state_.iteration);
  for (std::size_t g = 0; g < adam_.groups().size(); ++g)
    adam_.set_lr(g, adam_.groups()[g].name == "main" ? lr : noise_rate_.at(state_.iteration));

  const StepResult done = training_step(*model_, lpips_.get(), adam_, images);
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
  log_step(done, lr);
  if (options_.after_step) options_.after_step({state_.iteration, config_.iterations, config_.batch, loss});
}

void Run::log_step(const StepResult& done, double lr) {
  if (state_.iteration % config_.log_every != 0 && state_.iteration != config_.iterations) return;
  std::string line = fmt::format(R"({{"iteration": {}, "loss": {}, "mse": {})", state_.iteration,
                                 json(done.loss), json(done.mse));
  if (done.lpips.defined()) line += fmt::format(R"(, "lpips": {})", json(done.lpips));
  line += fmt::format(R"(, "lr": {}, "grad_norm": {{)", lr);
  for (std::size_t g = 0; g < done.norms.size(); ++g)
    line += fmt::format(R"({}"{}": {})", g == 0 ? "" : ", ", adam_.groups()[g].name, json(done.norms[g]));
  metrics_->append(line + "}}");
}

/// What is due after an iteration: samples, validation, and then the checkpoint that says that they are done.
/// False where a stop came in between; the checkpoint then says that they are not.
bool Run::settle(bool scheduled) {
  const bool last = state_.iteration == config_.iterations;
  if (config_.sample_every > 0 && (state_.iteration % config_.sample_every == 0 || last)) write_samples();
  if (!scheduled) return true;
  const bool validated = validate();
  save(validated);
  if (validated) prune();
  return validated;
}

std::optional<Image> Run::read_resized(const std::filesystem::path& file) {
  try {
    const auto side = static_cast<int>(model_->decoder().size());
    return resize_bilinear(read_image(file), side, side);
  } catch (const InputError& error) {
    if (named_.insert(file.string()).second) log(fmt::format("{} (skipped)", error.what()));
    return std::nullopt;
  }
}

void Run::write_samples() {
  const ImageFolder& folder = val_ ? *val_ : loader_->folder();
  std::vector<Image> inputs, outputs;
  for (std::size_t i = 0; i < folder.size() && inputs.size() < sample_images; ++i) {
    std::optional<Image> image = read_resized(folder.file(i));
    if (!image) continue;
    outputs.push_back(to_image(reconstruct(*model_, *image, backend_)));
    inputs.push_back(std::move(*image));
  }
  if (!inputs.empty())
    write_png(folder_.sample_file(state_.iteration), contact_sheet(inputs, outputs, false));
}

/// One line of metrics over the validation folder; false where a stop came first.
bool Run::validate() {
  if (!val_) return true;
  std::vector<ImageScores> scores;
  for (const std::filesystem::path& file : val_->files()) {
    if (stopped()) return false;
    const std::optional<Image> image = read_resized(file);
    if (image) scores.push_back(score(file.string(), *image, reconstruct(*model_, *image, backend_)));
  }
  if (scores.empty()) fail<InputError>(val_->folder().string(), ": none of its images can be read");
  const ImageScores mean = mean_of(scores);
  metrics_->append(fmt::format(
      R"({{"iteration": {}, "validation": {{"images": {}, "psnr": {}, "ssim": {}, "ssim_wang": {}}}}})",
      state_.iteration, scores.size(), json(mean.psnr), json(mean.ssim), json(mean.ssim_wang)));
  const auto shown = [](const std::optional<double>& value) {
    return value ? fmt::format("{:.4g}", *value) : "-";
  };
  log(fmt::format("iteration {}: validation PSNR {} dB, SSIM {} (Wang's {})", state_.iteration,
                  shown(mean.psnr), shown(mean.ssim), shown(mean.ssim_wang)));
  return true;
}

void Run::save(bool settled) {
  metrics_->sync();
  state_.settled = settled;
  save_checkpoint(folder_.checkpoint_file(state_.iteration), state_, model_->encoder(), adam_);
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
  const std::size_t unreadable = loader_->unreadable() + (val_ ? named_.size() : 0);
  return {interrupted, state_.iteration, interrupted ? "" : folder_.model_file(),
          static_cast<std::int64_t>(unreadable)};
}

}  // namespace

TrainResult train(const TrainConfig& config, const TrainOptions& options, Backend& backend) {
  return Run(config, options, backend)();
}

}  // namespace om
