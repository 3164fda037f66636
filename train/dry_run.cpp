#include "train/dry_run.h"

#include <algorithm>
#include <memory>

#include "autograd/observer.h"
#include "autograd/recompute.h"
#include "io/image_folder.h"
#include "io/model_file.h"
#include "train/evaluate.h"
#include "train/pixels.h"
#include "train/precision_choice.h"
#include "train/stage.h"
#include "train/start.h"

namespace om {
namespace {

/// As many as a step that is recorded needs: as it is, recorded, replayed; and Adam's moments are there from
/// the second on.
constexpr int kSteps = 3;

/// Remembers the memory in use when the backward pass began.
class BackwardWatch : public OpObserver {
 public:
  explicit BackwardWatch(Backend& backend) : backend_(backend), before_(live()) {}
  void ran(std::string_view, Pass pass) override {
    if (pass == Pass::forward && !began_) before_ = live();
    began_ = began_ || pass == Pass::backward;
  }
  std::size_t in_use() const { return before_; }

 private:
  std::size_t live() const { return backend_.memory().statistics().live_bytes; }

  Backend& backend_;
  std::size_t before_;
  bool began_ = false;
};

std::size_t live_bytes(Backend& backend) { return backend.memory().statistics().live_bytes; }

/// What the allocator hands out for a module's entries.
std::size_t bytes_of(const Module& module) {
  std::size_t bytes = 0;
  for (const Entry& entry : module.entries()) bytes += entry.value.storage()->bytes();
  return bytes;
}

void look_into(const TrainConfig& config) {
  const ImageFolder images(config.images, config.recursive);
  if (!config.val.empty()) const ImageFolder val(config.val, config.recursive);
}

/// As samples and validation do before the first step and between others: what it leaves in the allocator
/// serves the steps.
void show_a_picture(const Autoencoder& model, Backend& dry) {
  const auto side = static_cast<int>(model.decoder().size());
  reconstruct(model, Image(side, side), dry, {.noise = NoiseMaps::random});
}

MemoryPlan plan_stage(const TrainConfig& config, int stage, const Autoencoder& model, const Lpips* lpips,
                      RandomSource& random, Backend& dry) {
  WorkMeter& meter = *dry.extension<WorkMeter>();
  const std::size_t weights = live_bytes(dry);
  dry.memory().reset_peak();
  MemoryPlan plan;
  plan.stage = stage;
  Training training(model, lpips, stage_recipe(config, stage), random);
  const std::int64_t side = model.decoder().size();
  const std::vector<std::uint8_t> pixels(static_cast<std::size_t>(config.batch * side * side * 3));
  const PixelTable table(dry);
  PixelFeed feed(dry);
  const auto upload = [&] { return table(feed(pixels, {config.batch, side, side, 3})); };
  for (int i = 0; i < kSteps; ++i) {
    const Tensor targets = upload(), images = config.task == "denoise" ? upload() : targets;
    const Work before = meter.work();
    BackwardWatch watch(dry);
    {
      const Watching watching(watch);
      training.step(i, images, targets);
    }
    if (i == 0) plan.step = meter.work() - before;
    if (i == 1) plan.activations = watch.in_use();
    if (i == 0) plan.optimiser = live_bytes(dry) - weights - targets.storage()->bytes();
  }
  plan.activations -= std::min(plan.activations, weights + plan.optimiser);
  const MemoryStatistics statistics = dry.memory().statistics();
  plan.peak = statistics.peak_bytes;
  plan.held = statistics.live_bytes + statistics.cached_bytes;
  plan.scratch = meter.scratch_at_peak();
  plan.scratch_known = meter.knows_scratch();
  for (const Autoencoder::Part& part : model.encoders()) plan.trained += bytes_of(*part.encoder);
  plan.frozen = weights - std::min(weights, plan.trained);
  return plan;
}

}  // namespace

std::size_t MemoryPlan::passing() const {
  const std::size_t rest = trained + frozen + optimiser + activations + scratch;
  return peak - std::min(peak, rest);
}

std::vector<MemoryPlan> plan_training(const TrainConfig& given, Backend& backend) {
  TrainConfig config = given;
  check(config);
  resolve_defaults(config);
  look_into(config);
  const PrecisionScope scope(precision_on(precision_named(config.precision), backend));
  const RecomputeScope recompute(config.checkpoint_activations);
  const std::unique_ptr<Backend> dry = dry_backend(backend);
  RandomSource random(static_cast<std::uint64_t>(config.seed), *dry);
  const std::unique_ptr<Autoencoder> model = make_model(config, random, *dry);
  if (!config.init.empty()) start_from(config.init, *model, config.projection());
  std::unique_ptr<Lpips> lpips;
  if (!config.lpips.empty()) {
    lpips = load_lpips(config.lpips, config.lpips_heads, *dry);
    lpips->set_trainable(false);
  }
  if (!config.val.empty()) show_a_picture(*model, *dry);
  const std::size_t loading = dry->memory().statistics().peak_bytes;
  std::vector<MemoryPlan> plans;
  for (int stage = 1; stage <= stages_of(config); ++stage)
    plans.push_back(plan_stage(config, stage, *model, lpips.get(), random, *dry));
  plans.front().peak = std::max(plans.front().peak, loading);
  return plans;
}

}  // namespace om
