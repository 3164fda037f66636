// cuda_models [PRECISION..]: times the whole model on a card, at full size (256 pixels, generator multiplier
// 2, the encoder with the generator's channels, W+) on made weights: reconstruction of 1 and 32 images,
// eagerly and as a replayed graph, and a training step with LPIPS-VGG of 4 and 8. One line each: name,
// milliseconds, images a second, the allocator's peak. scripts/device_torch.py times the same work in
// PyTorch.
//
//   cuda_models ROW PRECISION COUNT      one row alone, COUNT times: for a profiler
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "autograd/grad.h"
#include "autograd/precision.h"
#include "models/autoencoder.h"
#include "models/lpips.h"
#include "models/stylegan2.h"
#include "nn/initial.h"
#include "tensor/registry.h"
#include "train/training_step.h"

namespace om {
namespace {

constexpr std::int64_t kSide = 256;

Backend& card() { return backend("cuda"); }

Autoencoder full_size(RandomSource& random) {
  StyleGan2Config config;
  config.channels = {512, 512, 512, 512, 512, 256, 128};
  config.stored_noise = false;
  auto decoder = std::make_unique<StyleGan2>(config, Placement{card()});
  randomize(*decoder, random);
  auto encoder = std::make_unique<Encoder>(EncoderConfig::for_decoder(*decoder, Projection::wplus, 1),
                                           Placement{card()});
  initialize(*encoder, random);
  return {std::move(encoder), std::move(decoder)};
}

std::unique_ptr<Lpips> vgg(RandomSource& random) {
  FileShapes backbone, heads;
  const std::pair<int, std::int64_t> layers[] = {{0, 64},   {2, 64},   {5, 128},  {7, 128},  {10, 256},
                                                 {12, 256}, {14, 256}, {17, 512}, {19, 512}, {21, 512},
                                                 {24, 512}, {26, 512}, {28, 512}};
  std::int64_t in = 3;
  for (const auto& [index, out] : layers) {
    backbone[text("features.", index, ".weight")] = {out, in, 3, 3};
    backbone[text("features.", index, ".bias")] = {out};
    in = out;
  }
  const std::int64_t taps[] = {64, 128, 256, 512, 512};
  for (int i = 0; i < 5; ++i) heads[text("lin", i, ".model.1.weight")] = {1, taps[i], 1, 1};
  auto lpips = std::make_unique<Lpips>(backbone, heads, Placement{card()});
  initialize(*lpips, random);
  lpips->set_trainable(false);
  return lpips;
}

/// The median of seven runs, in milliseconds.
double milliseconds(const std::function<void()>& body) {
  double times[7];
  for (double& time : times) {
    card().synchronize();
    const auto start = std::chrono::steady_clock::now();
    body();
    card().synchronize();
    time = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  }
  std::sort(std::begin(times), std::end(times));
  return times[3];
}

class Rows {
 public:
  explicit Rows(int count)
      : count_(count), random_(1, card()), model_(full_size(random_)), lpips_(vgg(random_)) {}

  void run(const std::string& name, Precision precision) {
    const PrecisionScope scope(precision);
    const auto at = name.find('_');
    const std::int64_t batch = std::atoll(name.c_str() + at + 1);
    if (name.starts_with("reconstruct_"))
      reconstruct(name, precision, batch, [](const Autoencoder& m, const Tensor& x) { return m(x); });
    if (name.starts_with("encode_"))
      reconstruct(name, precision, batch,
                  [](const Autoencoder& m, const Tensor& x) { return m.encode(x).latent; });
    if (name.starts_with("train_")) train(name, precision, batch);
  }

 private:
  void line(const std::string& name, Precision precision, double time, std::int64_t batch) {
    const auto statistics = card().memory().statistics();
    std::printf("%-28s %-5s %9.3f ms %9.1f img/s %7.2f steps/s  peak %.2f GiB, held %.2f\n", name.c_str(),
                std::string(name_of(precision)).c_str(), time, 1e3 * static_cast<double>(batch) / time,
                1e3 / time, static_cast<double>(statistics.peak_bytes) / (1 << 30),
                static_cast<double>(statistics.cached_bytes + statistics.live_bytes) / (1 << 30));
    std::fflush(stdout);
  }

  void start() {
    card().synchronize();
    card().memory().release_cached();
    card().memory().reset_peak();
    clock_ = std::chrono::steady_clock::now();
  }
  void warmed(const std::string& name) const {
    card().synchronize();
    std::printf("%-28s first run %.2f s\n", name.c_str(),
                std::chrono::duration<double>(std::chrono::steady_clock::now() - clock_).count());
  }

  void reconstruct(const std::string& name, Precision precision, std::int64_t batch,
                   const std::function<Tensor(const Autoencoder&, const Tensor&)>& body) {
    const NoGrad off;
    model_.set_training(false);
    const Tensor image = random_.uniform({batch, kSide, kSide, 3});
    start();
    Tensor result = body(model_, image);
    warmed(name);
    const auto eager = result.to_host<float>();
    if (count_ > 0) {
      for (int i = 0; i < count_; ++i) result = body(model_, image);
      return card().synchronize();
    }
    line(name + " eager", precision, milliseconds([&] { result = body(model_, image); }), batch);
    if (!card().begin_capture()) return;
    Tensor captured;
    try {
      captured = body(model_, image);
    } catch (...) {
      card().end_capture();
      throw;
    }
    const auto graph = card().end_capture();
    line(name + " graph", precision, milliseconds([&] {
                                       for (int i = 0; i < 5; ++i) graph->replay();
                                     }) / 5,
         batch);
    if (captured.to_host<float>() != eager) std::printf("%s: THE GRAPH'S BITS DIFFER\n", name.c_str());
  }

  void train(const std::string& name, Precision precision, std::int64_t batch) {
    const Tensor image = random_.uniform({batch, kSide, kSide, 3});
    Adam adam(encoder_groups(model_.encoder(), {.main = 1e-4, .noise_heads = 1e-4}),
              AdamOptions{.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0, .clip_norm = 1});
    prepare_training(model_, adam);
    start();
    const auto step = [&] { training_step(model_, lpips_.get(), adam, image); };
    step();
    warmed(name);
    step();
    if (count_ > 0) {
      for (int i = 0; i < count_; ++i) step();
      return card().synchronize();
    }
    line(name + " eager", precision, milliseconds(step), batch);
    try {
      if (!card().begin_capture()) return;
      StepResult result;
      std::string reason;
      try {
        result = training_step(model_, lpips_.get(), adam, image);
      } catch (const Error& error) {
        reason = error.what();
      }
      const auto graph = card().end_capture();
      if (!reason.empty()) fail(reason);
      line(name + " graph", precision, milliseconds([&] { graph->replay(); }), batch);
    } catch (const Error& error) {
      std::printf("%s: no graph: %s\n", name.c_str(), error.what());
    }
  }

  int count_;
  RandomSource random_;
  Autoencoder model_;
  std::unique_ptr<Lpips> lpips_;
  std::chrono::steady_clock::time_point clock_;
};

Precision precision_named(const std::string& name) {
  for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16})
    if (name == name_of(precision)) return precision;
  fail<UsageError>("no precision ", name);
}

int run(int argc, char** argv) {
  const bool single = argc == 4;
  Rows rows(single ? std::atoi(argv[3]) : 0);
  if (single) {
    rows.run(argv[1], precision_named(argv[2]));
    return 0;
  }
  std::printf("%s\n", card().description().c_str());
  for (int i = 1; i < argc; ++i)
    for (const char* name :
         {"reconstruct_1", "encode_1", "reconstruct_32", "encode_32", "train_4", "train_8"})
      rows.run(name, precision_named(argv[i]));
  return 0;
}

}  // namespace
}  // namespace om

int main(int argc, char** argv) {
  try {
    return om::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cuda_models: %s\n", error.what());
    return 1;
  }
}
