// onemodel project: Image2StyleGAN, the optimisation that the paper's encoder is faster than (section 4.4).
//
// OUT/NAME.png and OUT/NAME.safetensors (latent and noise maps, as `generate --latents` takes them) per
// picture; OUT/progress/NAME.safetensors while it is under way. The same command again goes on where it
// stopped.
#include <fmt/core.h>

#include <chrono>
#include <iostream>
#include <map>

#include "autograd/grad.h"
#include "examples/common.h"
#include "examples/inputs.h"
#include "examples/models.h"
#include "examples/outputs.h"
#include "io/resize.h"
#include "io/same_file.h"
#include "io/shown.h"
#include "train/codes.h"
#include "train/embedding.h"
#include "train/evaluate.h"
#include "train/flat_json.h"

namespace om {
namespace {

struct ProjectOptions {
  std::string generator, out, latent = "wplus", vgg;
  std::vector<std::string> images;
  std::int64_t iterations = 5000, every = 100;
  double rate = 0.01;
  bool optimise_noise = false, json = false, recursive = false;
};

struct Projected {
  std::string file;
  std::filesystem::path output;
  ImageScores scores;
  std::string history;  // JSON: [{"iteration": n, "psnr": x}, ..]
};

const std::map<std::string, LatentSpace> kSpaces = {
    {"wplus", LatentSpace::wplus}, {"w", LatentSpace::w}, {"z", LatentSpace::z}};

/// Where the code of a picture goes.
std::string code_file(std::filesystem::path picture) {
  return picture.replace_extension(".safetensors").string();
}

std::string number(const std::optional<double>& value) { return value ? json_text(*value) : "null"; }

void print_json(const std::vector<Projected>& results, const std::optional<double>& speed) {
  const auto scores = [](const ImageScores& s) {
    return fmt::format(R"("psnr": {}, "ssim": {}, "ssim_wang": {})", number(s.psnr), number(s.ssim),
                       number(s.ssim_wang));
  };
  std::vector<ImageScores> all;
  std::string out = "{\n  \"images\": [";
  for (const Projected& result : results) {
    out += &result == &results.front() ? "\n" : ",\n";
    out += fmt::format("    {{\"file\": {}, \"output\": {}, {},\n     \"history\": [{}]}}",
                       json_text(result.file), json_text(result.output.string()), scores(result.scores),
                       result.history);
    all.push_back(result.scores);
  }
  out += fmt::format("\n  ],\n  \"mean\": {{{}}},\n  \"images_per_second\": {}\n}}\n", scores(mean_of(all)),
                     number(speed));
  std::cout << out;
}

void print_table(const std::vector<Projected>& results, const std::optional<double>& speed) {
  const auto cell = [](const std::optional<double>& value, int digits) {
    return value ? fmt::format("{:.{}f}", *value, digits) : std::string("-");
  };
  const auto print = [&](const ImageScores& row, const std::string& name) {
    std::cout << fmt::format("{:>8} {:>8} {:>10}  {}\n", cell(row.psnr, 2), cell(row.ssim, 4),
                             cell(row.ssim_wang, 4), name);
  };
  std::cout << fmt::format("{:>8} {:>8} {:>10}  {}\n", "PSNR dB", "SSIM", "SSIM Wang", "image -> output");
  std::vector<ImageScores> all;
  for (const Projected& result : results) {
    print(result.scores, shown(result.file) + " -> " + shown(result.output.string()));
    all.push_back(result.scores);
  }
  print(mean_of(all), text("mean of ", results.size()));
  std::cout << "images per second: " << (speed ? fmt::format("{:.4g}", *speed) : "-") << "\n";
}

/// One picture, from where its progress file stands to the last iteration.
class Projector {
 public:
  Projector(const ProjectOptions& options, const Common& common, Backend& backend)
      : options_(options),
        backend_(backend),
        decoder_(load_generator(options.generator, backend, saying_so())) {
    decoder_->set_trainable(false);
    if (options.vgg.empty()) {
      note("no --vgg: the squared error alone is minimised");
    } else {
      vgg_ = load_vgg_features(options.vgg, backend);
    }
    settings_ = {kSpaces.at(options.latent), options.optimise_noise, options.rate,
                 static_cast<std::uint64_t>(common.seed)};
  }

  int side() const { return static_cast<int>(decoder_->size()); }
  /// Steps done in this run of the program, and their seconds.
  std::int64_t steps() const { return steps_; }
  double seconds() const { return seconds_; }

  Projected operator()(const std::string& file, const Image& input, const std::filesystem::path& output) {
    Embedding embedding(*decoder_, vgg_.get(), settings_, to_tensor(input.pixels, 1, side(), backend_));
    const std::filesystem::path progress =
        output.parent_path() / "progress" / (output.stem().string() + ".safetensors");
    std::string history;
    if (std::filesystem::exists(progress)) history = embedding.load(progress.string());
    const auto begin = std::chrono::steady_clock::now();
    const std::int64_t first = embedding.iteration();
    while (embedding.iteration() < options_.iterations) {
      if (interrupted()) {
        embedding.save(progress.string(), history);
        stop_if_interrupted();
      }
      embedding.step();
      if (embedding.iteration() % options_.every != 0) continue;
      const ImageScores scores = scores_of(file, input, embedding);
      history += fmt::format(R"({}{{"iteration": {}, "psnr": {}}})", history.empty() ? "" : ", ",
                             embedding.iteration(), number(scores.psnr));
      note(fmt::format("{}: iteration {}/{}, PSNR {}", shown(file), embedding.iteration(),
                       options_.iterations, scores.psnr ? fmt::format("{:.2f} dB", *scores.psnr) : "-"));
      embedding.save(progress.string(), history);
    }
    backend_.synchronize();
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    steps_ += embedding.iteration() - first;
    const FloatImage made = to_float_images(embedding.picture()).front();
    write_png(output, to_image(made));
    write_codes(code_file(output), {embedding.code()},
                settings_.space == LatentSpace::z ? Projection::z : Projection::wplus);
    embedding.save(progress.string(), history);  // what a repeated command finds finished
    return {file, output, score(file, input, made), history};
  }

 private:
  static ImageScores scores_of(const std::string& file, const Image& input, const Embedding& embedding) {
    return score(file, input, to_float_images(embedding.picture()).front());
  }

  const ProjectOptions& options_;
  Backend& backend_;
  std::unique_ptr<Decoder> decoder_;
  std::unique_ptr<VggFeatures> vgg_;
  EmbeddingSettings settings_;
  std::int64_t steps_ = 0;
  double seconds_ = 0;
};

int project(const ProjectOptions& options, const Common& common) {
  if (options.iterations < 1) fail<UsageError>("project: --iterations must be at least 1");
  if (options.every < 1) fail<UsageError>("project: --every must be at least 1");
  if (!(options.rate > 0)) fail<UsageError>("project: --lr must be positive");
  const Session session(common);
  Backend& backend = session.backend();
  Projector projector(options, common, backend);
  make_folder(std::filesystem::path(options.out) / "progress");
  catch_interrupts();

  std::vector<Projected> results;
  ImageInputs inputs(options.images, options.recursive);
  OutputNames output_name(options.out, inputs.files_and({options.generator, options.vgg}));
  while (const auto item = inputs.next()) {
    const Image input = resize_bilinear(item->image, projector.side(), projector.side());
    const std::filesystem::path output = output_name.of(item->file);
    refuse_overwriting(code_file(output), inputs.files_and({options.generator, options.vgg}));
    results.push_back(projector(item->file, input, output));
  }
  if (results.empty()) return inputs.exit_code();
  std::optional<double> speed;  // of whole pictures, as far as this run did them
  if (projector.steps() > 0)
    speed = static_cast<double>(projector.steps()) / static_cast<double>(options.iterations) /
            projector.seconds();
  options.json ? print_json(results, speed) : print_table(results, speed);
  return inputs.exit_code();
}

Command project_command() {
  auto o = std::make_shared<ProjectOptions>();
  return {
      "project",
      "Embed images by optimisation, Image2StyleGAN's way",
      {{"--generator", "FILE", &o->generator, "Checkpoint with a generator, PyTorch's or ours", kRequired},
       {"IMAGES", "", &o->images, kImagesHelp, kRequired},
       {"--out", "DIR", &o->out, "Folder for pictures and codes; the same command goes on there", kRequired},
       {"--latent", "wplus|w|z", &o->latent, "What is optimised (default wplus)", false, {"wplus", "w", "z"}},
       {"--optimise-noise", "", &o->optimise_noise, "The noise maps too"},
       {"--iterations", "N", &o->iterations, "Steps of Adam (default 5000)"},
       {"--lr", "RATE", &o->rate, "Adam's rate (default 0.01)"},
       {"--vgg", "FILE", &o->vgg, "torchvision's vgg16 weights, for the perceptual term"},
       {"--every", "K", &o->every, "Steps between measurements, each kept (default 100)"},
       {"--recursive", "", &o->recursive, kRecursiveHelp},
       {"--json", "", &o->json, "Print the figures as JSON"}},
      [o](const Common& common) { return project(*o, common); },
      "the rival of section 4.4's speed claim"};
}

const Subcommand here(project_command);

}  // namespace
}  // namespace om
