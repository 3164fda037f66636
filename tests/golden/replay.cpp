// A recorded reconstruction and a recorded training step give the bits of those that run as they are, in each
// precision that the backend has. On a backend that records nothing both sides run alike.
#include "tensor/replay.h"

#include "autograd/grad.h"
#include "autograd/precision.h"
#include "tensor/dry_form.h"
#include "tests/golden/golden_case.h"
#include "train/dry_run.h"
#include "train/made_model.h"
#include "train/training_step.h"

namespace om::golden {
namespace {

constexpr MadeModel kShape{.size = 32, .width = 0.125};
constexpr std::int64_t kBatch = 3;

std::vector<Precision> precisions_of(const Backend& backend) {
  std::vector<Precision> precisions = {Precision::fp32};
  if (backend.supports(Math::tf32)) precisions.push_back(Precision::tf32);
  if (backend.supports(DType::bf16)) precisions.push_back(Precision::bf16);
  return precisions;
}

std::vector<float> bits(const Tensor& tensor) { return tensor.to_host<float>(); }

/// A model in training, one image batch and what each step gave.
struct Trained {
  explicit Trained(Backend& backend)
      : random(7, backend),
        model(make_autoencoder(kShape, random, backend)),
        lpips(make_lpips_vgg(random, backend)),
        images(random.uniform({kBatch, kShape.size, kShape.size, 3})),
        adam(encoder_groups(model->encoder(), {.main = 1e-3, .noise_heads = 1e-3}), {}) {
    prepare_training(*model, adam);
  }
  void step() { last = training_step(*model, lpips.get(), adam, images); }

  RandomSource random;
  std::unique_ptr<Autoencoder> model;
  std::unique_ptr<Lpips> lpips;
  Tensor images;
  Adam adam;
  StepResult last;
};

}  // namespace

void run_replayed_reconstruction(Backend& backend) {
  const NoGrad off;
  for (const Precision precision : precisions_of(backend)) {
    const PrecisionScope scope(precision);
    RandomSource random(5, backend);
    const auto model = make_autoencoder(kShape, random, backend);
    model->set_training(false);
    const Tensor image = random.uniform({kBatch, kShape.size, kShape.size, 3}),
                 other = random.uniform(image.shape());
    const std::vector<float> eager = bits((*model)(image)), eager_other = bits((*model)(other));
    EXPECT_NE(eager, eager_other);
    const Tensor input = image.clone();
    Tensor output;
    Replay replay(backend, [&] { output = (*model)(input); });
    for (int i = 0; i < 4; ++i) {
      replay();
      EXPECT_EQ(bits(output), eager) << name_of(precision) << ", call " << i;
    }
    EXPECT_EQ(replay.recorded(), backend.records());
    input.assign(other);
    replay();
    EXPECT_EQ(bits(output), eager_other) << name_of(precision);
  }
}

void run_replayed_training(Backend& backend) {
  for (const Precision precision : precisions_of(backend)) {
    const PrecisionScope scope(precision);
    Trained eager(backend), replayed(backend);
    Replay replay(backend, [&] { replayed.step(); });
    for (int i = 0; i < 4; ++i) {
      eager.step();
      replay();
      EXPECT_EQ(bits(replayed.last.loss), bits(eager.last.loss)) << name_of(precision) << ", step " << i;
    }
    EXPECT_EQ(replay.recorded(), backend.records());
    const std::vector<Entry> a = replayed.model->encoder().entries(), b = eager.model->encoder().entries();
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i)
      if (a[i].value.dtype() == DType::f32)
        EXPECT_EQ(bits(a[i].value), bits(b[i].value)) << name_of(precision) << " " << a[i].name;
    const std::vector<Adam::State> moments = replayed.adam.state();
    EXPECT_EQ(moments.front().steps, 4);
  }
}

void run_predicted_memory(Backend& backend) {
  TrainConfig config;
  config.batch = 2;
  for (const Precision precision : precisions_of(backend)) {
    const PrecisionScope scope(precision);
    const auto steps = [&](Backend& on) {
      on.memory().release_cached();
      const std::size_t before = on.memory().statistics().live_bytes;
      RandomSource random(7, on);
      const auto model = make_autoencoder({.size = 32, .width = 0.25}, random, on);
      const auto lpips = make_lpips_vgg(random, on);
      MemoryPlan plan = plan_steps(config, 1, *model, lpips.get(), random, on);
      plan.step_peak -= before;
      return plan;
    };
    steps(backend);  // engines are chosen by trying some, with a workspace each
    const MemoryPlan measured = steps(backend), predicted = steps(*dry_backend(backend));
    std::printf("%s: %.1f MiB predicted, %.1f measured\n", std::string(name_of(precision)).c_str(),
                static_cast<double>(predicted.step_peak) / (1 << 20),
                static_cast<double>(measured.step_peak) / (1 << 20));
    EXPECT_NEAR(static_cast<double>(predicted.step_peak) / static_cast<double>(measured.step_peak), 1, 0.05)
        << name_of(precision);
    // What a backend without a dry form of its own takes for itself is not known, and that is said.
    EXPECT_EQ(predicted.scratch_known,
              backend.extension<DryForm>() != nullptr || backend.name() == "reference")
        << name_of(precision);
    EXPECT_EQ(predicted.trained, measured.trained);
    EXPECT_GT(predicted.step.flops, 0);
  }
}

}  // namespace om::golden
