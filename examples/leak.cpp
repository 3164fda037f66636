// onemodel leak: how much of a picture a model's noise maps carry (the paper's semantic leak).
#include <fmt/core.h>

#include <iostream>
#include <memory>

#include "examples/batches.h"
#include "examples/common.h"
#include "examples/models.h"
#include "io/model_file.h"
#include "train/flat_json.h"
#include "train/leak.h"

namespace om {
namespace {

struct LeakOptions {
  std::string generator, model;
  std::vector<std::string> images;
  std::optional<std::int64_t> batch;
  bool recursive = false, json = false;
};

constexpr std::pair<NoiseMaps, const char*> kinds[] = {
    {NoiseMaps::predicted, "predicted"}, {NoiseMaps::random, "random"}, {NoiseMaps::zero, "zero"}};

void print_json(const SemanticLeak& leak) {
  const auto number = [](const std::optional<double>& value) { return value ? json_text(*value) : "null"; };
  std::string out = text("{\n  \"images\": ", leak.images());
  for (const auto& [noise, name] : kinds) {
    const ImageScores mean = leak.mean(noise);
    out += text(",\n  \"", name, "\": {\"psnr\": ", number(mean.psnr), ", \"ssim\": ", number(mean.ssim),
                ", \"ssim_wang\": ", number(mean.ssim_wang), "}");
  }
  std::cout << out << "\n}\n";
}

void print_table(const SemanticLeak& leak) {
  const auto cell = [](const std::optional<double>& value, int digits) {
    return value ? fmt::format("{:.{}f}", *value, digits) : std::string("-");
  };
  std::cout << fmt::format("{:>8} {:>8} {:>10}  noise ({} images)\n", "PSNR dB", "SSIM", "SSIM Wang",
                           leak.images());
  for (const auto& [noise, name] : kinds) {
    const ImageScores mean = leak.mean(noise);
    std::cout << fmt::format("{:>8} {:>8} {:>10}  {}\n", cell(mean.psnr, 2), cell(mean.ssim, 4),
                             cell(mean.ssim_wang, 4), name);
  }
}

int measure_leak(const LeakOptions& options, const Common& common) {
  check_batch("leak", options.batch);
  const Session session(common);
  Backend& backend = session.backend();
  const std::unique_ptr<Autoencoder> model = open_autoencoder(options.model, options.generator, backend);
  if (!model->predicts_latent())
    fail<InputError>(options.model, ": the encoder predicts no latents, only noise");
  const std::int64_t side = model->decoder().size();
  const std::int64_t batch = options.batch.value_or(default_batch(backend, largest_map_bytes(*model)));
  catch_interrupts();
  SemanticLeak leak(*model, static_cast<std::uint64_t>(common.seed), backend);
  ImageInputs inputs(options.images, options.recursive);
  const std::vector<std::string> names = inputs.files();
  const std::vector<std::filesystem::path> files(names.begin(), names.end());
  Inference inference(side, batch, leak.work(), backend);
  FlowSteps<LeakPicture> steps = leak.steps(files);
  steps.prepare = [side](const Image& image) { return resized_pair(image, side); };
  run_flow(inputs, inference, steps);
  if (leak.images() == 0) return inputs.exit_code();
  options.json ? print_json(leak) : print_table(leak);
  return inputs.exit_code();
}

Command leak_command() {
  auto o = std::make_shared<LeakOptions>();
  return {
      "leak",
      "Measure the semantic leak: PSNR and SSIM with predicted, random and zero noise",
      {{"--model", "FILE", &o->model, "Checkpoint with encoder and generator, PyTorch's or ours", kRequired},
       generator_option(&o->generator),
       {"IMAGES", "", &o->images, kImagesHelp, kRequired},
       {"--recursive", "", &o->recursive, kRecursiveHelp},
       batch_option(&o->batch),
       {"--json", "", &o->json, "Print the figures as JSON"}},
      [o](const Common& common) { return measure_leak(*o, common); },
      "section 3.3: how much the noise inputs carry"};
}

const Subcommand here(leak_command);

}  // namespace
}  // namespace om
