// onemodel dncnn: a network of one's own on this library, from the layers to the table. Read it as an example
// of how to write and train a model that is not the paper's; it is also the rival of the paper's table 2.
//
// DnCNN (Zhang, Zuo, Chen, Meng and Zhang 2017, "Beyond a Gaussian Denoiser") is shown a noisy picture y and
// predicts the noise in it, R(y); the denoised picture is y - R(y). Blind: one network for all sigmas.
//
//   R = conv, relu, 15 x (conv, batch norm, relu), conv     3x3, zero padding, 64 channels between
//   loss = mean over the pictures of |R(y) - (y - x)|^2     x the clean picture, values in [-1, 1]
//
// From top to bottom: the network, its file, one step of its training, the run, measuring, the command.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iostream>
#include <memory>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "autograd/random.h"
#include "examples/batches.h"
#include "examples/common.h"
#include "examples/measure.h"
#include "io/other_model.h"
#include "io/parameters.h"
#include "io/safetensors.h"
#include "io/same_file.h"
#include "nn/batch_norm.h"
#include "nn/conv.h"
#include "tensor/replay.h"
#include "train/adam.h"
#include "train/precision_choice.h"
#include "train/progress.h"
#include "train/run_settings.h"
#include "train/schedule.h"

namespace om {
namespace {

constexpr std::int64_t kColours = 3;

// ---------------------------------------------------------------------------------------------------------
// The network. A Module names its parameters and children; what a file holds, what an optimiser steps and
// what train mode reaches follows from the names.

class Block : public Module {
 public:
  Block(const Placement& place, std::int64_t channels)
      : conv_(place, {.in = channels, .out = channels, .kernel = 3, .pad = 1},
              false),  // the norm has the bias
        norm_(place, channels) {
    child("conv", conv_);
    child("norm", norm_);
  }
  Tensor operator()(const Tensor& x) const { return norm_(conv_(x), {.slope = 0}); }

 private:
  Conv conv_;
  BatchNorm norm_;
};

class DnCnn : public Module {
 public:
  DnCnn(const Placement& place, std::int64_t layers, std::int64_t channels)
      : channels_(channels),
        first_(place, {.in = kColours, .out = channels, .kernel = 3, .pad = 1}, true),
        last_(place, {.in = channels, .out = kColours, .kernel = 3, .pad = 1}, true) {
    child("first", first_);
    for (std::int64_t i = 0; i + 2 < layers; ++i) {
      middle_.push_back(std::make_unique<Block>(place, channels));
      child(text("middle.", i), *middle_.back());
    }
    child("last", last_);
  }

  /// The noise in y, [N, H, W, 3] both. In bf16 the layers between are stored so, pictures and noise in
  /// float32.
  Tensor noise_in(const Tensor& y) const {
    Tensor x = first_(y, 0);
    for (const auto& block : middle_) x = (*block)(x);
    return last_(x, 1, Sums::f32);
  }
  Tensor operator()(const Tensor& y) const { return y - noise_in(y); }

  std::int64_t layers() const { return std::ssize(middle_) + 2; }
  std::int64_t channels() const { return channels_; }

 private:
  std::int64_t channels_;
  Conv first_;
  List<Block> middle_;
  Conv last_;
};

/// He, Zhang, Ren and Sun 2015: every convolution's weights normal with variance 2 / fan_in. Biases are 0 and
/// norms the identity, as the layers make them.
void initialize_he(const DnCnn& network, RandomSource& random) {
  const NoGrad no_grad;
  for (const Entry& entry : network.parameters()) {
    if (entry.value.rank() != 4) continue;  // [O, kH, kW, I]
    const double fan_in = static_cast<double>(entry.value.elements() / entry.value.size(0));
    entry.value.assign(random.normal(entry.value.shape()) * std::sqrt(2 / fan_in));
  }
}

// ---------------------------------------------------------------------------------------------------------
// Its file: the entries in PyTorch's layouts, and beside them what shapes do not tell.

constexpr const char* kKind = "dncnn";
constexpr std::int64_t kMinSize = 8, kMaxSize = 4096;

/// Whole or not at all. Error where a number is not finite.
void save(const std::string& file, const DnCnn& network, std::map<std::string, std::string> metadata) {
  metadata["kind"] = kKind;
  const SafeTensors content{to_file(network), std::move(metadata)};
  for (const auto& [name, tensor] : content.tensors)
    if (const std::string why = not_finite(tensor); !why.empty())
      fail(file, ": not written, ", name, " holds ", why, "; a smaller --lr may help");
  write_safetensors(file, content);
}

struct Trained {
  std::unique_ptr<DnCnn> network;
  std::int64_t size;  ///< of the pictures that it was trained on
};

/// What its metadata say; empty where they do not.
std::string setting(const Checkpoint& checkpoint, const char* key) {
  const auto found = checkpoint.metadata.find(key);
  return found == checkpoint.metadata.end() ? std::string() : found->second;
}

/// In evaluation mode. InputError `FILE: reason` where the file holds none.
Trained load(const Checkpoint& checkpoint, Backend& backend) {
  return naming_file(checkpoint.path, [&] {
    if (setting(checkpoint, "kind") != kKind)
      fail<InputError>("holds no network that `onemodel dncnn` trained");
    Trained trained{};
    const std::string size = setting(checkpoint, "size");
    const auto [end, error] = std::from_chars(size.data(), size.data() + size.size(), trained.size);
    if (error != std::errc() || end != size.data() + size.size() || trained.size < kMinSize ||
        trained.size > kMaxSize)
      fail<InputError>("expects pictures of ", kMinSize, " to ", kMaxSize, " pixels, its size is '",
                       printable(size), "'");
    // the sizes are read off the weights, which may not make more than the file can fill
    const FileShapes shapes = view_below(checkpoint, "").shapes();
    const std::int64_t channels = require_shape(shapes, kKind, "first.weight", 4)[0];
    std::int64_t layers = 2, budget = budget_of(shapes);
    while (shapes.contains(text("middle.", layers - 2, ".conv.weight"))) ++layers;
    trained.network = std::make_unique<DnCnn>(Placement{backend, DType::f32, &budget}, layers, channels);
    fill(*trained.network, checkpoint);
    return trained;
  });
}

/// For `onemodel info`, and for commands that are given such a file instead of the paper's model.
std::string describe(const Checkpoint& checkpoint, Backend& backend) {
  const auto [network, size] = load(checkpoint, backend);
  std::int64_t weights = 0;
  for (const Entry& entry : network->parameters()) weights += entry.value.elements();
  const std::string sigmas = setting(checkpoint, "sigmas");
  return text("DnCNN, a denoiser: ", network->layers(), " convolutions, ", network->channels(),
              " channels between them, ", weights, " weights; trained on ",
              setting(checkpoint, "grey") == "true" ? "grey " : "", "pictures of ", size, " pixels",
              sigmas.empty() ? "" : ", sigmas " + printable(sigmas));
}

const OtherModelRow row({kKind, "DnCNN", "onemodel dncnn --model", describe});

// ---------------------------------------------------------------------------------------------------------
// One step of the training. The first runs as it is; where the backend can, the second is recorded and the
// later ones are replays: so whatever differs between steps (pictures, rate, sums) lies in tensors that stay,
// and nothing is read back.

class Step {
 public:
  Step(const DnCnn& network, const Shape& batch, double lr, Backend& backend)
      : network_(network),
        adam_({{"all", network.parameters(), lr}}, {.beta1 = 0.9, .weight_decay = 0, .clip_norm = 0}),
        noisy_(Tensor::zeros(batch, DType::f32, backend)),
        clean_(noisy_.empty_like()),
        loss_(Tensor::zeros({}, DType::f32, backend)),
        noise_(Tensor::zeros({}, DType::f32, backend)),
        replay_(
            backend, [this] { compute(); }, written(network)) {
    for (const Tensor& parameter : adam_.parameters()) require_grad(parameter);
  }

  void operator()(const Tensor& noisy, const Tensor& clean, double lr) {
    noisy_.assign(noisy);
    clean_.assign(clean);
    adam_.set_lr(0, lr);
    // a recording has memory of its own: what the first step left would lie beside it unused
    if (taken_++ == 1 && !noisy.backend().host_memory()) noisy.backend().memory().release_cached();
    replay_();
    ++steps_;
  }

  /// Means over the pictures of the steps since the last call: the loss, and what it were if nothing was
  /// predicted, |y - x|^2. Waits for them.
  struct Figures {
    double loss, noise;
  };
  Figures figures() {
    const auto take = [&](const Tensor& sum) {
      const double mean = sum.to_host<float>()[0] / static_cast<double>(std::max<std::int64_t>(1, steps_));
      sum.assign(Tensor::zeros({}, DType::f32, sum.backend()));
      return mean;
    };
    const Figures figures{take(loss_), take(noise_)};
    steps_ = 0;
    return figures;
  }

 private:
  void compute() {
    const auto pictures = static_cast<double>(noisy_.size(0));
    const Tensor noise = noisy_ - clean_;
    const Tensor loss = sum(square(network_.noise_in(noisy_) - noise)) / pictures;
    adam_.step(grad({loss}, adam_.parameters()));
    const NoGrad no_grad;
    loss_.assign(loss_ + loss.detach());
    noise_.assign(noise_ + sum(square(noise)) / pictures);
  }

  /// What a step writes besides: weights and the norms' running statistics.
  static std::vector<Tensor> written(const DnCnn& network) {
    std::vector<Tensor> all;
    for (const Entry& entry : network.entries()) all.push_back(entry.value);
    return all;
  }

  const DnCnn& network_;
  Adam adam_;
  Tensor noisy_, clean_, loss_, noise_;
  std::int64_t taken_ = 0, steps_ = 0;  // in all, and since figures()
  Replay replay_;
};

// ---------------------------------------------------------------------------------------------------------
// The run. Pictures and noise come as `train --task denoise --noise-at model` gives them to the paper's
// model: the same loader, options and draws.

struct Options {
  std::string images, val, model;
  std::int64_t size = 128, iterations = 10'000, layers = 17, channels = 64;
  std::optional<std::int64_t> batch;
  double lr = 1e-3;
  std::vector<double> sigmas;
  bool grey = false;
  MeasureOptions measure;  // --out is the folder of tables, or the file of a training
};

constexpr std::int64_t kTrainingBatch = 16;
constexpr double kLastRate = 1e-8;
constexpr std::int64_t kReports = 10;  // lines of a run

/// The run in train's words: what chooses the pictures and their noise.
TrainConfig config_of(const Options& options, const Common& common) {
  TrainConfig config;
  config.task = "denoise";
  config.noise_at = name_of(NoiseAt::model);
  if (!options.sigmas.empty()) config.sigmas = options.sigmas;
  config.grey = options.grey;
  config.batch = options.batch.value_or(kTrainingBatch);
  config.seed = common.seed;
  return config;
}

Inference::Work denoising(const DnCnn& network) {
  Inference::Work work;
  work.forward = [&network](const Inference::Inputs& in) { return Inference::Outputs{network(in.images)}; };
  return work;
}

std::int64_t largest_map_bytes(const DnCnn& network, std::int64_t side) {
  return side * side * network.channels() * 4;
}

/// The means over the validation folder, each picture with a sigma of its own, as train's: what was shown and
/// what came of it.
std::pair<ImageScores, ImageScores> validate(const DnCnn& network, const ImageFolder& val,
                                             const TrainConfig& config, std::int64_t size, Backend& backend) {
  struct Scored : FlowPicture {
    ImageScores noisy, denoised;
  };
  std::vector<ImageScores> noisy, denoised;
  FlowSteps<Scored> steps;
  steps.check = stop_if_interrupted;
  steps.prepare = validation_pairs(config, size);
  steps.finish = [&](Scored& picture, const FlowOutputs& outputs) {
    const std::string file = val.file(picture.file).string();
    picture.noisy = score(file, picture.pair.target, to_float_image(picture.pair.input));
    picture.denoised = score(file, picture.pair.target, to_float_image(outputs[0], size));
  };
  steps.done = [&](Scored& picture) {
    noisy.push_back(picture.noisy);
    denoised.push_back(picture.denoised);
  };
  Inference inference(size, default_batch(backend, largest_map_bytes(network, size)), denoising(network),
                      backend);
  run_flow(val.files(), inference, steps, flow_threads(backend));
  if (noisy.empty()) fail<InputError>(val.folder().string(), ": none of its images can be read");
  return {mean_of(noisy), mean_of(denoised)};
}

void check_training(const Options& o) {
  const auto within = [](const char* option, std::int64_t value, std::int64_t low, std::int64_t high) {
    if (value < low || value > high)
      fail<UsageError>("dncnn: ", option, " must lie between ", low, " and ", high, ", got ", value);
  };
  within("--size", o.size, kMinSize, kMaxSize);
  within("--iterations", o.iterations, 1, 1'000'000'000);
  within("--layers", o.layers, 2, 1000);
  within("--channels", o.channels, 1, 4096);
  check_batch("dncnn", o.batch);
  if (!(o.lr > 0)) fail<UsageError>("dncnn: --lr must be above 0, got ", o.lr);
  if (!o.sigmas.empty()) check_sigmas("dncnn", o.sigmas);
}

int train_dncnn(const Options& options, const Common& common) {
  check_training(options);
  const std::string& out = options.measure.out;
  const bool recursive = options.measure.recursive;
  const Session session(common);  // backend, threads, precision
  Backend& backend = session.backend();
  const TrainConfig config = config_of(options, common);
  ImageLoader loader(ImageFolder(options.images, recursive),
                     loader_options(config, options.size, 0, backend));
  std::optional<ImageFolder> val;
  if (!options.val.empty()) val.emplace(options.val, recursive);
  for (const auto& file : loader.folder().files()) refuse_overwriting(out, {file.string()});
  if (val)
    for (const auto& file : val->files()) refuse_overwriting(out, {file.string()});
  expect_writable(out);
  catch_interrupts();

  RandomSource random(static_cast<std::uint64_t>(common.seed), backend);
  DnCnn network(Placement{backend}, options.layers, options.channels);
  initialize_he(network, random);
  network.set_training(true);
  const Shape shape = {config.batch, options.size, options.size, kColours};
  const CosineSchedule schedule{options.lr, std::min(kLastRate, options.lr), options.iterations};
  Step step(network, shape, options.lr, backend);
  PixelTable values(backend);  // bytes to [-1, 1], on the device
  PixelFeed feed(backend);
  Progress progress;
  progress.line(precision_header(precision(), backend));

  std::string words;  // of the last report
  const std::int64_t every = std::max<std::int64_t>(1, options.iterations / kReports);
  for (std::int64_t done = 0; done < options.iterations;) {
    if (interrupted()) throw Interrupted{"the same command, from its first step: no checkpoint is kept"};
    const ImageBatch batch = loader.next();
    for (const std::string& line : loader.take_warnings()) progress.line(line);
    step(values(feed(batch.inputs, shape)), values(feed(batch.pixels, shape)), schedule.at(done));
    if (++done % every == 0 || done == options.iterations) {
      const Step::Figures figures = step.figures();
      if (!std::isfinite(figures.loss))
        fail("iteration ", done, ": the loss is not finite; no model is written; a smaller --lr may help");
      std::string line = fmt::format("iteration {}: loss {:.6g}, of the noise itself {:.6g}", done,
                                     figures.loss, figures.noise);
      if (val) {
        network.set_training(false);
        const auto [noisy, denoised] = validate(network, *val, config, options.size, backend);
        network.set_training(true);
        line += fmt::format("; validation PSNR {:.2f} dB from {:.2f}", denoised.psnr.value_or(NAN),
                            noisy.psnr.value_or(NAN));
      }
      progress.line(line);
      words = fmt::format("loss {:.4g}  ", figures.loss);
    }
    progress.advance(done, options.iterations, config.batch, words);
  }
  if (loader.unreadable() > 0) progress.line(text("skipped ", loader.unreadable(), " unreadable images"));
  save(out, network,
       {{"size", std::to_string(options.size)},
        {"sigmas", fmt::format("{}", fmt::join(config.sigmas, ","))},
        {"grey", options.grey ? "true" : "false"},
        {"iterations", std::to_string(options.iterations)},
        {"batch", std::to_string(config.batch)},
        {"lr", fmt::format("{}", options.lr)},
        {"seed", std::to_string(common.seed)},
        {"precision", std::string(name_of(precision()))}});
  std::cout << out << "\n";
  return kDone;
}

// ---------------------------------------------------------------------------------------------------------
// Measuring: what `eval --task denoise --noise-at model` does, with this network.

int measure_dncnn(const Options& options, const Common& common) {
  const std::vector<Named> data = named_once("dncnn", "--data", options.measure.data);
  check_batch("dncnn", options.batch);
  EvalTask task{{15, 25, 50}, {}, static_cast<std::uint64_t>(common.seed), options.batch};
  if (!options.sigmas.empty()) task.sigmas = options.sigmas;
  check_sigmas("dncnn", task.sigmas);
  task.noise.at = NoiseAt::model;
  task.noise.grey = options.grey;
  const Session session(common);
  std::vector<EvalData> folders = folders_of(data, options.measure.recursive);
  const Trained trained = load(read_checkpoint(options.model), session.backend());
  const EvalNetwork network{"DnCNN", trained.size, largest_map_bytes(*trained.network, trained.size),
                            denoising(*trained.network)};
  return measure(options.measure, std::move(folders), std::move(task), {network}, session.backend());
}

// ---------------------------------------------------------------------------------------------------------
// The command: options as data, and what runs then.

int run_dncnn(const Options& options, const Common& common) {
  if (options.images.empty() == options.model.empty())
    fail<UsageError>("dncnn: expects --images DIR, to train, or --model FILE, to measure");
  const bool trains = options.model.empty();
  const std::vector<std::string> training = {"val", "size", "iterations", "lr", "layers", "channels"},
                                 measuring = {"data", "inception", "cache"};
  for (const std::string& option : trains ? measuring : training)
    if (std::find(common.given.begin(), common.given.end(), option) != common.given.end())
      fail<UsageError>("dncnn: --", option, " needs ", trains ? "--model" : "--images");
  if (trains) return train_dncnn(options, common);
  if (options.measure.data.empty()) fail<UsageError>("dncnn: --data NAME=DIR is required with --model");
  return measure_dncnn(options, common);
}

Command dncnn_command() {
  auto o = std::make_shared<Options>();
  return {
      "dncnn",
      "Train a DnCNN to remove noise, or measure one: an example of a model of one's own",
      {{"--images", "DIR", &o->images, "Folder to train on"},
       {"--model", "FILE", &o->model, "A trained one, to be measured"},
       {"--out", "FILE|DIR", &o->measure.out, "The trained model (.safetensors), or the tables' folder",
        kRequired},
       {"--val", "DIR", &o->val, "training: folder to measure on, ten times"},
       {"--size", "PIXELS", &o->size, "training: what pictures are resized to (default 128)"},
       {"--iterations", "N", &o->iterations, "training: steps; the rate's cosine spans them (default 10000)"},
       {"--lr", "RATE", &o->lr, "training: rate of the first step (default 1e-3)"},
       {"--layers", "N", &o->layers, "training: convolutions (default 17)"},
       {"--channels", "N", &o->channels, "training: channels between them (default 64)"},
       {"--data", "NAME=DIR", &o->measure.data, "measuring: folder of images, and its name in the tables"},
       {"--sigmas", "LIST", &o->sigmas,
        "Deviations of the noise, of 255, added at the model's size (default 5,10,15,25,35,50 to train,\n"
        "15,25,50 to measure)"},
       {"--grey", "", &o->grey, "Grey pictures and noise; results measured as grey"},
       {"--batch", "N", &o->batch, "Pictures together (default 16 to train; to measure 1 on the CPU)"},
       {"--recursive", "", &o->measure.recursive, "Read the images in the folders' subfolders as well"},
       {"--inception", "FILE", &o->measure.inception, "measuring: pytorch-fid's weights, for FID"},
       {"--cache", "DIR", &o->measure.cache,
        "measuring: where features are kept (default ~/.cache/onemodel/features)"}},
      [o](const Common& common) { return run_dncnn(*o, common); },
      "the rival of table 2"};
}

const Subcommand here(dncnn_command);

}  // namespace
}  // namespace om
