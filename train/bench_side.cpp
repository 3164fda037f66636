#include "train/bench_side.h"

#include <chrono>

#include "train/pixels.h"
#include "train/stage.h"

namespace om {
namespace {

/// Runs `work`, keeping what it gives.
BenchSide::Body keeping(const std::function<std::vector<Tensor>()>& work, bool records = true) {
  auto kept = std::make_shared<std::vector<Tensor>>();
  return {[=] { *kept = work(); }, [=] { return *kept; }, records, {}, {}};
}

std::vector<Tensor> without_grad(const std::function<std::vector<Tensor>()>& work) {
  const NoGrad off;
  return work();
}

std::vector<Tensor> all_of(const Code& code) {
  std::vector<Tensor> tensors = code.noise;
  if (code.latent.defined()) tensors.push_back(code.latent);
  return tensors;
}

std::vector<Tensor> defined_of(const std::vector<Tensor>& tensors) {
  std::vector<Tensor> defined;
  for (const Tensor& tensor : tensors)
    if (tensor.defined()) defined.push_back(tensor);
  return defined;
}

}  // namespace

double seconds_of(Backend& backend, const std::function<void()>& body, int calls) {
  backend.synchronize();
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < calls; ++i) body();
  backend.synchronize();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

BenchSide::BenchSide(const BenchNetworks& networks, Backend& backend, std::uint64_t seed)
    : backend_(backend),
      model_(networks.model(backend)),
      lpips_(networks.lpips ? networks.lpips(backend) : nullptr),
      random_(seed, backend) {
  if (!model_->predicts_latent() || !model_->predicts_noise())
    fail<InputError>("bench: the model's encoder predicts ",
                     model_->predicts_latent() ? "no noise" : "no latents");
}

std::vector<BenchSide::Piece> BenchSide::pieces(const std::string& task, std::int64_t batch) {
  return task == "train" ? training(batch) : reconstruction(batch);
}

Tensor BenchSide::images(std::int64_t batch) {
  const NoGrad off;
  const std::int64_t side = model_->decoder().size();
  return random_.uniform({batch, side, side, 3}) * 2.0 - 1.0;
}

/// What the encoder says of some images, as leaves.
Code BenchSide::code(std::int64_t batch) {
  const NoGrad off;
  return model_->encode(images(batch));
}

BenchSide::Body BenchSide::upload(std::int64_t batch) {
  const std::int64_t side = model_->decoder().size();
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(batch * side * side * 3));
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * 37 + i / 64);
  auto feed = std::make_shared<PixelFeed>(backend_);
  const auto work = [=, table = PixelTable(backend_)] {
    return std::vector{table((*feed)(pixels, {batch, side, side, 3}))};
  };
  return keeping(work, false);
}

std::vector<BenchSide::Piece> BenchSide::reconstruction(std::int64_t batch) {
  model_->set_training(false);
  const auto piece = [&](const char* name,
                         const std::function<std::function<std::vector<Tensor>()>()>& make) {
    return Piece{name, [=] {
                   const auto work = make();
                   return keeping([=] { return without_grad(work); });
                 }};
  };
  return {
      piece("all", [=, this] { return [this, x = images(batch)] { return std::vector{(*model_)(x)}; }; }),
      piece("encoder", [=, this] { return [this, x = images(batch)] { return all_of(model_->encode(x)); }; }),
      piece("decoder",
            [=, this] { return [this, c = code(batch)] { return std::vector{model_->decode(c)}; }; }),
      {"input", [=, this] { return upload(batch); }}};
}

std::vector<BenchSide::Piece> BenchSide::training(std::int64_t batch) {
  const TrainConfig config;
  const auto fresh = [=, this] {
    return std::make_shared<Training>(*model_, lpips_.get(), stage_recipe(config, 1), random_);
  };
  const auto whole = [=, this]() -> Body {
    auto training = fresh();
    auto last = std::make_shared<StepResult>();
    const Tensor x = images(batch);
    return {[=] { *last = training->step(0, x); }, [=] { return std::vector{last->loss}; }, false,
            [=, this] { *last = training_step(*model_, lpips_.get(), training->adam(), x); },
            [=] { return training->recorded(); }};
  };
  const auto encoder = [=, this] {
    auto training = fresh();
    const std::vector<Tensor> like = all_of(code(batch));
    std::vector<Tensor> g;
    for (const Tensor& t : like) g.push_back(random_.normal(t.shape(), t.dtype()));
    return keeping([=, this, x = images(batch)] {
      return defined_of(grad(all_of(model_->encode(x)), training->adam().parameters(),
                             {.output_gradients = g, .allow_unused = true}));
    });
  };
  const auto decoder = [=, this] {
    auto training = fresh();  // the generator's mode
    const Code made = code(batch);
    const std::vector<Tensor> leaves = all_of(made);
    for (const Tensor& leaf : leaves) require_grad(leaf);
    return keeping([=, this, g = images(batch)] {
      return grad({model_->decode(made)}, leaves, {.output_gradients = {g}});
    });
  };
  const auto loss = [=, this] {
    const Tensor output = require_grad(images(batch));
    return keeping([=, this, target = images(batch)] {
      return grad({losses_of(output, target, lpips_.get()).loss}, {output});
    });
  };
  const auto optimiser = [=, this] {
    auto training = fresh();
    const std::vector<Tensor> gradients =
        training_step(*model_, lpips_.get(), training->adam(), images(batch)).gradients;
    return keeping([=] { return training->adam().step(gradients); });
  };
  return {{"all", whole}, {"encoder", encoder},     {"decoder", decoder},
          {"loss", loss}, {"optimiser", optimiser}, {"input", [=, this] { return upload(batch); }}};
}

}  // namespace om
