#include "train/dry_run.h"

#include <algorithm>
#include <memory>

#include "autograd/observer.h"
#include "autograd/recompute.h"
#include "io/image_folder.h"
#include "io/model_file.h"
#include "nn/batch_norm.h"
#include "train/inference.h"
#include "train/leak.h"
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

/// As validation runs such work, as far as recorded batches go; what it leaves in the allocator serves the
/// steps. Returns its peak.
std::size_t plan_pictures(Inference::Work work, std::size_t pictures, std::int64_t batch,
                          const Autoencoder& model, Backend& dry) {
  dry.memory().reset_peak();
  const std::int64_t side = model.decoder().size();
  Inference inference(side, batch, std::move(work), dry);
  const Image blank(static_cast<int>(side), static_cast<int>(side));
  const auto each = static_cast<std::size_t>(batch);
  for (std::size_t first = 0; first < std::min(pictures, kSteps * each); first += each) {
    const std::size_t count = std::min(each, pictures - first);
    inference.settle(
        *inference.start(std::vector<const Image*>(count, &blank), std::vector<std::uint64_t>(count)));
  }
  return dry.memory().statistics().peak_bytes;
}

}  // namespace

MemoryPlan plan_steps(const TrainConfig& config, int stage, const Autoencoder& model, const Lpips* lpips,
                      RandomSource& random, Backend& backend, const std::function<void()>& between,
                      DryRanks* together) {
  auto* const meter = backend.extension<WorkMeter>();  // null on a real one
  const std::size_t weights = live_bytes(backend);
  backend.memory().reset_peak();
  MemoryPlan plan;
  plan.stage = stage;
  Training training(model, lpips, stage_recipe(config, stage), random, together);
  const std::int64_t side = model.decoder().size();
  const std::vector<std::uint8_t> pixels(static_cast<std::size_t>(config.batch * side * side * 3));
  const PixelTable table(backend);
  PixelFeed feed(backend);
  const auto upload = [&] { return table(feed(pixels, {config.batch, side, side, 3})); };
  for (int i = 0; i < kSteps; ++i) {
    const Tensor targets = upload(), images = config.task == "denoise" ? upload() : targets;
    const Work before = (meter != nullptr ? meter->work() : Work());
    BackwardWatch watch(backend);
    if (together != nullptr) together->forget();
    {
      const Watching watching(watch);
      training.step(i, images, targets);
    }
    if (together != nullptr) plan.sums = together->sums();
    if (i == 0) plan.step = (meter != nullptr ? meter->work() : Work()) - before;
    if (i == 1) plan.activations = watch.in_use();
    if (i == 0) plan.optimiser = live_bytes(backend) - weights - targets.storage()->bytes();
    if (const std::size_t peak = backend.memory().statistics().peak_bytes; peak > plan.step_peak) {
      plan.step_peak = peak;
      plan.scratch = meter != nullptr ? meter->scratch_at_peak() : 0;
    }
    if (i == 0 || !between) continue;
    between();
    backend.memory().reset_peak();
  }
  plan.activations -= std::min(plan.activations, weights + plan.optimiser);
  plan.scratch_known = meter != nullptr && meter->knows_scratch();
  for (const Autoencoder::Part& part : model.encoders()) plan.trained += bytes_of(*part.encoder);
  plan.frozen = weights - std::min(weights, plan.trained);
  const MemoryStatistics after = backend.memory().statistics();
  plan.held = after.live_bytes + after.cached_bytes;
  return plan;
}

std::size_t MemoryPlan::passing() const {
  const std::size_t rest = trained + frozen + optimiser + activations + scratch;
  return step_peak - std::min(step_peak, rest);
}

std::vector<MemoryPlan> plan_training(const TrainConfig& given, Backend& backend, int ranks) {
  TrainConfig config = given;
  check(config);
  resolve_defaults(config);
  const ImageFolder images(config.images, config.recursive);
  const std::size_t val = config.val.empty() ? 0 : ImageFolder(config.val, config.recursive).size();
  const PrecisionScope scope(precision_on(precision_named(config.precision), backend));
  const RecomputeScope recompute(config.checkpoint_activations);
  const std::unique_ptr<Backend> dry = dry_backend(backend);
  // An engine of the backend's own sums where the arrays lie, and within what is recorded; the processors' on
  // the host.
  const bool own_engine = backend.extension<CommunicatorSource>() != nullptr;
  DryRanks together(ranks, own_engine);
  const SyncedNorms norms(config.sync_batch_norm && ranks > 1 ? &together : nullptr);
  RandomSource random(static_cast<std::uint64_t>(config.seed), *dry);
  const std::unique_ptr<Autoencoder> model = make_model(config, random, *dry);
  if (!config.init.empty()) start_from(config.init, *model, config.projection());
  std::unique_ptr<Lpips> lpips;
  if (!config.lpips.empty()) {
    lpips = load_lpips(config.lpips, config.lpips_heads, *dry);
    lpips->set_trainable(false);
  }
  const std::size_t loading = dry->memory().statistics().peak_bytes;
  const std::int64_t batch = default_batch(backend, largest_map_bytes(*model));
  std::vector<MemoryPlan> plans;
  for (int stage = 1; stage <= stages_of(config); ++stage) {
    std::size_t validation = 0;
    const auto show = [&](Inference::Work work, std::size_t pictures) {
      validation = std::max(validation, plan_pictures(std::move(work), pictures, batch, *model, *dry));
    };
    const auto validate = [&] {  // rank 0's share is the largest
      const auto each = static_cast<std::size_t>(ranks);
      if (val > 0)
        show(reconstruction(*model, NoiseMaps::predicted, 0, MapsFor::each, *dry), (val + each - 1) / each);
    };
    validate();
    int steps = 1;
    plans.push_back(plan_steps(
        config, stage, *model, lpips.get(), random, *dry,
        [&] {
          validate();
          if (++steps == kSteps && val > 0 && stage == stages_of(config))  // what a run ends with
            show(SemanticLeak(*model, 0, *dry).work(), val);
        },
        ranks > 1 ? &together : nullptr));
    MemoryPlan& plan = plans.back();
    plan.validation_peak = validation;
    plan.ranks = ranks;
    if (!own_engine && backend.host_memory() && !plan.sums.empty())
      plan.copies = *std::max_element(plan.sums.begin(), plan.sums.end());
  }
  plans.front().step_peak = std::max(plans.front().step_peak, loading);
  return plans;
}

}  // namespace om
