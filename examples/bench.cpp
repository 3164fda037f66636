// onemodel bench: what reconstruction and training take on this machine, by batch and precision.
//
// Without files the networks are made at the published full size (256 pixels) on drawn weights, which take as
// long as trained ones.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "examples/bench_report.h"
#include "examples/common.h"
#include "examples/lists.h"
#include "examples/models.h"
#include "examples/ranks.h"
#include "io/atomic_file.h"
#include "io/same_file.h"
#include "io/shown.h"
#include "train/bench.h"
#include "train/bench_ranks.h"
#include "train/made_model.h"
#include "train/precision_choice.h"
#include "train/training_step.h"

namespace om {
namespace {

constexpr std::int64_t kMostBatch = 4096, kMostRuns = 1000;

struct BenchCommand {
  std::string task = "all", precisions, generator, model, lpips, lpips_heads, save;
  std::vector<std::int64_t> batches;
  MadeModel made;
  std::int64_t runs = 7;
  bool no_lpips = false, profile = false, json = false;
  std::optional<std::int64_t> ranks;
  double bucket_mib = static_cast<double>(kBucketBytes) / (1 << 20);
  std::string timeline;
};

bool given(const Common& common, const char* name) {
  return std::find(common.given.begin(), common.given.end(), name) != common.given.end();
}

void check_command(const BenchCommand& c, const Common& common) {
  const bool files = !c.generator.empty() || !c.model.empty();
  for (const char* name : {"size", "width"})
    if (files && given(common, name)) fail<UsageError>("--", name, " is for a model without files");
  if (!c.model.empty() && given(common, "encoder-width"))
    fail<UsageError>("--encoder-width is for a new encoder; --model holds one");
  if (c.lpips.empty() != c.lpips_heads.empty()) fail<UsageError>("--lpips and --lpips-heads belong together");
  if (c.no_lpips && !c.lpips.empty()) fail<UsageError>("--no-lpips contradicts --lpips");
  if (c.runs < 1 || c.runs > kMostRuns) fail<UsageError>("--runs must lie between 1 and ", kMostRuns);
  for (const std::int64_t batch : c.batches)
    if (batch < 1 || batch > kMostBatch)
      fail<UsageError>("--batches must lie between 1 and ", kMostBatch, ", got ", batch);
  if (given(common, "precision") && !c.precisions.empty())
    fail<UsageError>("--precision contradicts --precisions");
  if (!(c.bucket_mib > 0 && c.bucket_mib <= 4096))
    fail<UsageError>("--bucket-mib must lie above 0 and up to 4096");
}

/// UsageError where an option is for one process alone, or for several.
void check_ranks(const BenchCommand& c, const Common& common, bool several) {
  for (const char* name : {"bucket-mib", "timeline"})
    if (!several && given(common, name)) fail<UsageError>("--", name, " is for several --ranks");
  for (const char* name : {"profile", "save"})
    if (several && given(common, name))
      fail<UsageError>("--", name, " is for one process; leave --ranks out");
  if (several && c.task == "reconstruct")
    fail<UsageError>("--ranks is for training; --task reconstruct has none");
  if (c.timeline.empty()) return;
  if (std::filesystem::path(c.timeline).extension() != ".svg")
    fail<UsageError>("--timeline expects a name that ends in .svg, got ", shown(c.timeline));
  std::vector<std::string> inputs = {c.model, c.generator, c.lpips, c.lpips_heads};
  std::erase(inputs, "");
  refuse_overwriting(c.timeline, inputs);
  expect_writable(c.timeline);
}

/// Each once, as the backend computes them.
std::vector<Precision> precisions_of(const BenchCommand& command, const Common& common,
                                     const Backend& backend) {
  std::vector<Precision> chosen;
  const auto add = [&](const std::string& name) {
    Common asked = common;
    asked.precision = name;
    const Precision precision = precision_of(asked, backend);
    if (std::find(chosen.begin(), chosen.end(), precision) == chosen.end()) chosen.push_back(precision);
  };
  if (!command.precisions.empty()) {
    for (const std::string& name : word_list("--precisions", command.precisions)) add(name);
  } else {
    add(common.precision);
    if (common.precision.empty() && backend.supports(Math::tf32) && backend.supports(DType::bf16))
      add("bf16");
  }
  return chosen;
}

BenchNetworks networks_of(const BenchCommand& c, std::uint64_t seed) {
  BenchNetworks networks;
  networks.model = [&c, seed](Backend& backend) {
    RandomSource random(seed, backend);
    if (!c.model.empty()) return load_autoencoder(c.model, backend, c.generator);
    if (c.generator.empty()) return make_autoencoder(c.made, random, backend);
    return with_new_encoder(load_generator(c.generator, backend), c.made.encoder_width, random, backend);
  };
  if (c.no_lpips) return networks;
  networks.lpips = [&c, seed](Backend& backend) {
    RandomSource random(seed + 1, backend);
    if (c.lpips.empty()) return make_lpips_vgg(random, backend);
    std::unique_ptr<Lpips> lpips = load_lpips(c.lpips, c.lpips_heads, backend);
    lpips->set_trainable(false);
    return lpips;
  };
  return networks;
}

template <class Bench>
std::string describe(const BenchCommand& c, const Bench& bench) {
  const Decoder& decoder = bench.model().decoder();
  std::int64_t weights = 0;
  for (const Autoencoder::Part& part : bench.model().encoders())
    for (const Entry& entry : part.encoder->parameters()) weights += entry.value.elements();
  const std::string source = !c.model.empty()       ? shown(c.model)
                             : !c.generator.empty() ? "a new encoder for " + shown(c.generator)
                                                    : "drawn weights";
  return text(source, ": ", decoder.size(), " pixels, ", weights, " weights to train, ",
              bench.lpips() == nullptr ? "no LPIPS" : "LPIPS on " + bench.lpips()->net());
}

/// For another program that does the same work: the networks, and what they make of some images, in fp32 and
/// in PyTorch's order of dimensions.
void save(const std::string& folder, const Bench& bench, std::uint64_t seed, Backend& backend) {
  const PrecisionScope strict(Precision::fp32);
  const NoGrad no_grad;
  make_folder(folder);
  const Autoencoder& model = bench.model();
  save_autoencoder(folder + "/model.safetensors", model);
  SafeTensors lpips, check;
  if (bench.lpips() != nullptr) {
    for (const Module* part : {&bench.lpips()->backbone(), &bench.lpips()->heads()})
      lpips.tensors.merge(to_file(*part));
    write_safetensors(folder + "/lpips.safetensors", lpips);
  }
  const std::int64_t side = model.decoder().size();
  RandomSource random(seed, backend);
  const Tensor image = random.uniform({2, side, side, 3}) * 2.0 - 1.0;
  for (const Autoencoder::Part& part : model.encoders()) part.encoder->set_training(false);
  const Tensor output = model(image);
  const Losses losses = losses_of(output, image, bench.lpips());
  const auto add = [&](const char* name, const Tensor& tensor) {
    if (tensor.defined()) check.tensors[name] = to_file(tensor);
  };
  add("image", permute(image, {0, 3, 1, 2}));
  add("output", permute(output, {0, 3, 1, 2}));
  add("mse", losses.mse);
  add("lpips", losses.lpips);
  write_safetensors(folder + "/check.safetensors", check);
}

std::string ranks_picture(const BenchCommand& command, RanksBench& bench, const RanksReport& report,
                          Precision precision, std::int64_t batch) {
  const std::vector<Communicator::Span> spans = bench.timeline(precision, batch);
  if (spans.empty()) fail(command.timeline, ": a step of these ranks cannot be traced");
  return timeline_svg(
      text(report.device, "; ", report.engine, "; ", name_of(precision), ", batch ", batch, " a rank"),
      spans);
}

int bench_ranks(const BenchCommand& command, Rank& rank) {
  const Common& common = rank.common;
  Backend& backend = open_backend(common);
  const std::vector<Precision> precisions = precisions_of(command, common, backend);
  std::vector<std::int64_t> batches = command.batches;
  if (batches.empty())
    batches = backend.host_memory() ? std::vector<std::int64_t>{1} : std::vector<std::int64_t>{4, 8};
  const auto seed = static_cast<std::uint64_t>(common.seed);
  RunRanks ranks(rank.member, rank.connect(backend));
  RanksBench bench(networks_of(command, seed), backend, seed, static_cast<int>(command.runs), ranks,
                   static_cast<std::size_t>(command.bucket_mib * (1 << 20)));
  RanksReport report{backend.description(),
                     describe(command, bench),
                     text(rank.size(), " ranks, ", rank.together->description(), ", buckets of ",
                          command.bucket_mib, " MiB"),
                     {}};
  for (const Precision precision : precisions)
    for (const std::int64_t batch : batches) {
      report.rows.push_back(bench.train(precision, batch));
      if (rank.first())
        note(text("train ", name_of(precision), " batch ", batch, " on ", rank.size(), " ranks done"));
    }
  if (!command.timeline.empty()) {
    const std::string picture = ranks_picture(command, bench, report, precisions.front(), batches.front());
    if (rank.first()) write_file(command.timeline, std::as_bytes(std::span(picture)));
  }
  if (rank.first()) std::cout << (command.json ? ranks_json(report) : ranks_table(report));
  return kDone;
}

int bench_alone(const BenchCommand& command, const Common& common) {
  Backend& backend = open_backend(common);
  const std::vector<Precision> precisions = precisions_of(command, common, backend);
  std::vector<std::int64_t> batches = command.batches;
  if (batches.empty())
    batches = backend.host_memory() ? std::vector<std::int64_t>{1} : std::vector<std::int64_t>{1, 4, 8, 32};
  const auto seed = static_cast<std::uint64_t>(common.seed);
  Bench bench(networks_of(command, seed), backend, seed, static_cast<int>(command.runs), command.profile);
  if (!command.save.empty()) save(command.save, bench, seed, backend);

  BenchReport report{backend.description(), describe(command, bench), {}, {}};
  for (const Precision precision : precisions)
    report.peaks.push_back(measure_peaks(backend, precision, static_cast<int>(command.runs)));
  const auto add = [&](BenchRow row) {
    note(text(row.task, ' ', name_of(row.precision), " batch ", row.batch, " done"));
    report.rows.push_back(std::move(row));
    stop_if_interrupted();
  };
  catch_interrupts();
  for (const Precision precision : precisions)
    for (const std::int64_t batch : batches) {
      if (command.task != "train") add(bench.reconstruct(precision, batch));
      if (command.task != "reconstruct") add(bench.train(precision, batch));
    }
  std::cout << (command.json ? bench_json(report) : bench_table(report));
  return kDone;
}

int bench_models(const BenchCommand& command, const Common& common) {
  check_command(command, common);
  return on_ranks(command.ranks, common, [&](Rank& rank) {
    check_ranks(command, common, rank.size() > 1);
    return rank.size() > 1 ? bench_ranks(command, rank) : bench_alone(command, rank.common);
  });
}

Command bench_command() {
  auto c = std::make_shared<BenchCommand>();
  return {
      "bench",
      "Time reconstruction and training on this machine",
      {{"--task",
        "reconstruct|train|all",
        &c->task,
        "What to time (default all)",
        false,
        {"reconstruct", "train", "all"}},
       {"--batches", "B,B,..", &c->batches, "Images at once (default 1; on a device 1,4,8,32)"},
       {"--precisions", "P,P,..", &c->precisions,
        "fp32, tf32, bf16 (default: that of --precision; on a device with both, tf32,bf16)"},
       {"--model", "FILE", &c->model, "Checkpoint with encoder and generator; else one is made"},
       {"--generator", "FILE", &c->generator, "Checkpoint with a generator, for which an encoder is made"},
       {"--size", "S", &c->made.size, "Pixels of the model made (default 256)"},
       {"--width", "F", &c->made.width, "Times its generator's channels (default 1: 512 up to 64 pixels)"},
       {"--encoder-width", "F", &c->made.encoder_width,
        "Encoder's channels over the generator's (default 1)"},
       {"--lpips", "BACKBONE", &c->lpips,
        "torchvision's weights of VGG16, AlexNet or SqueezeNet; else a VGG16 is made"},
       {"--lpips-heads", "HEADS", &c->lpips_heads, "The lpips package's weights for it"},
       {"--no-lpips", "", &c->no_lpips, "Train on the mean squared error alone"},
       {"--runs", "N", &c->runs, "Rounds of a median (default 7)"},
       {"--profile", "", &c->profile, "Time by op as well, forward and backward"},
       ranks_option(c->ranks),
       {"--bucket-mib", "X", &c->bucket_mib, "Ranks: gradients that are summed at once (default 8)"},
       {"--timeline", "FILE.svg", &c->timeline,
        "Ranks: a picture of one step, of the first precision and batch"},
       {"--save", "DIR", &c->save, "Keep the networks, and what they make of two images"},
       {"--json", "", &c->json, "Print the figures as JSON"}},
      [c](const Common& common) { return bench_models(*c, common); }};
}

const Subcommand here(bench_command);

}  // namespace
}  // namespace om
