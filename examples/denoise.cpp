// onemodel denoise: noisy images through encoder and generator; with --sigma the noise is ours, and measured.
#include <fmt/core.h>

#include <algorithm>
#include <iostream>
#include <memory>

#include "examples/batches.h"
#include "examples/common.h"
#include "examples/models.h"
#include "examples/outputs.h"
#include "io/model_file.h"
#include "io/shown.h"
#include "train/denoise.h"
#include "train/evaluate.h"
#include "train/flat_json.h"

namespace om {
namespace {

struct DenoiseOptions {
  std::string generator, model, out, at = "file", channels = "independent";
  std::vector<std::string> images;
  std::optional<double> sigma;
  std::optional<std::int64_t> batch;
  bool grey = false, recursive = false, json = false;
};

struct Denoised {
  std::string file;
  std::filesystem::path output;
  std::optional<ImageScores> noisy, denoised;  // where the clean image is known
};

/// "noisy": {..}, as a member of a JSON object.
std::string json_scores(const char* name, const ImageScores& scores) {
  const auto number = [](const std::optional<double>& value) { return value ? json_text(*value) : "null"; };
  return fmt::format(R"("{}": {{"psnr": {}, "ssim": {}, "ssim_wang": {}}})", name, number(scores.psnr),
                     number(scores.ssim), number(scores.ssim_wang));
}

ImageScores mean_of(const std::vector<Denoised>& results, std::optional<ImageScores> Denoised::*which) {
  std::vector<ImageScores> scores;
  for (const Denoised& result : results)
    if (result.*which) scores.push_back(*(result.*which));
  return om::mean_of(scores);
}

void print_json(const DenoiseOptions& options, const std::vector<Denoised>& results) {
  std::string out = "{\n  \"images\": [";
  for (const Denoised& result : results) {
    out += &result == &results.front() ? "\n    {" : ",\n    {";
    out += "\"file\": " + json_text(result.file) + ", \"output\": " + json_text(result.output.string());
    out += options.sigma ? fmt::format(R"(, "sigma": {}, "noise_at": "{}", "noise_channels": "{}")",
                                       *options.sigma, options.at, options.grey ? "shared" : options.channels)
                         : R"(, "sigma": null, "noise_at": null, "noise_channels": null)";
    if (result.noisy) out += ",\n     " + json_scores("noisy", *result.noisy);
    if (result.denoised) out += ",\n     " + json_scores("denoised", *result.denoised);
    out += "}";
  }
  out += "\n  ],\n  \"mean\": {";
  if (options.sigma)
    out += json_scores("noisy", mean_of(results, &Denoised::noisy)) + ",\n           " +
           json_scores("denoised", mean_of(results, &Denoised::denoised));
  std::cout << out + "}\n}\n";
}

void print_table(const DenoiseOptions& options, const std::vector<Denoised>& results) {
  if (!options.sigma) {
    for (const Denoised& result : results)
      std::cout << shown(result.file) << " -> " << shown(result.output.string()) << "\n";
    return;
  }
  const auto cell = [](const std::optional<double>& value, int digits) {
    return value ? fmt::format("{:.{}f}", *value, digits) : std::string("-");
  };
  const auto print = [&](const ImageScores& noisy, const ImageScores& denoised, const std::string& name) {
    std::cout << fmt::format("{:>8} {:>8} {:>10}  {:>8} {:>8} {:>10}  {}\n", cell(noisy.psnr, 2),
                             cell(noisy.ssim, 4), cell(noisy.ssim_wang, 4), cell(denoised.psnr, 2),
                             cell(denoised.ssim, 4), cell(denoised.ssim_wang, 4), shown(name));
  };
  std::cout << fmt::format("sigma {} of 255, added at {} resolution{}\n", *options.sigma, options.at,
                           options.grey                   ? ", grey"
                           : options.channels == "shared" ? ", one noise for all channels"
                                                          : "");
  std::cout << fmt::format("{:>28}  {:>28}\n{:>8} {:>8} {:>10}  {:>8} {:>8} {:>10}  {}\n", "noisy",
                           "denoised", "PSNR dB", "SSIM", "SSIM Wang", "PSNR dB", "SSIM", "SSIM Wang",
                           "image -> output");
  for (const Denoised& result : results)
    print(*result.noisy, *result.denoised, result.file + " -> " + result.output.string());
  print(mean_of(results, &Denoised::noisy), mean_of(results, &Denoised::denoised),
        text("mean of ", results.size()));
}

/// UsageError where an option of the noise stands without any.
void check(const DenoiseOptions& options, const Common& common) {
  if (options.sigma && (*options.sigma < 0 || *options.sigma > kMaxSigma))
    fail<UsageError>("denoise: --sigma must lie between 0 and ", kMaxSigma, ", got ", *options.sigma);
  for (const char* option : {"noise-at", "noise-channels"})
    if (!options.sigma && std::find(common.given.begin(), common.given.end(), option) != common.given.end())
      fail<UsageError>("denoise: --", option, " needs --sigma: without it no noise is added");
}

int denoise(const DenoiseOptions& options, const Common& common) {
  check_batch("denoise", options.batch);
  check(options, common);
  const Session session(common);
  Backend& backend = session.backend();
  const std::unique_ptr<Autoencoder> model = open_autoencoder(options.model, options.generator, backend);
  const std::int64_t side = model->decoder().size();
  const std::int64_t batch = options.batch.value_or(default_batch(backend, largest_map_bytes(*model)));
  const std::filesystem::path noisy_folder = std::filesystem::path(options.out) / "noisy";
  make_folder(options.sigma ? noisy_folder : std::filesystem::path(options.out));
  catch_interrupts();

  const DenoiseSettings settings{noise_at(options.at), noise_channels(options.channels), options.grey};
  std::vector<Denoised> results;
  ImageInputs inputs(options.images, options.recursive);
  const std::vector<std::string> files = inputs.files();
  OutputNames output_name(options.out, inputs.files_and({options.model, options.generator}));
  OutputNames noisy_name(noisy_folder, inputs.files_and({options.model, options.generator}));
  Inference inference(side, batch, reconstruction(*model, NoiseMaps::predicted, 0, MapsFor::all, backend),
                      backend);
  struct OnTheWay : FlowPicture {
    Denoised result;
    std::filesystem::path noisy_output;
  };
  FlowSteps<OnTheWay> steps;
  steps.prepare = [&](const Image& image) {
    return denoise_pair(image, options.sigma.value_or(0), settings, static_cast<int>(side),
                        static_cast<std::uint64_t>(common.seed), picture_of(image));
  };
  steps.accept = [&](OnTheWay& picture) {
    picture.result.file = files[picture.file];
    picture.result.output = output_name.of(picture.result.file);
    if (options.sigma) picture.noisy_output = noisy_name(picture.result.output.stem().string());
  };
  steps.finish = [&](OnTheWay& picture, const FlowOutputs& outputs) {
    const FloatImage made = to_float_image(outputs[0], side);
    const Image output = options.grey ? to_grey(to_image(made)) : to_image(made);
    Denoised& result = picture.result;
    write_png(result.output, output);
    if (!options.sigma) return;
    const auto& [input, target] = picture.pair;
    write_png(picture.noisy_output, input);
    result.noisy = score(result.file, target, to_float_image(input));
    result.denoised = score(result.file, target, options.grey ? to_float_image(output) : made);
  };
  steps.done = [&](OnTheWay& picture) { results.push_back(std::move(picture.result)); };
  run_flow(inputs, inference, steps);
  if (results.empty()) return inputs.exit_code();
  options.json ? print_json(options, results) : print_table(options, results);
  return inputs.exit_code();
}

Command denoise_command() {
  auto o = std::make_shared<DenoiseOptions>();
  return {"denoise",
          "Remove noise from images, or add it, remove it and measure",
          {{"--model", "FILE", &o->model, "Checkpoint trained with --task denoise", kRequired},
           generator_option(&o->generator),
           {"IMAGES", "", &o->images, kImagesHelp, kRequired},
           {"--out", "DIR", &o->out,
            "Folder for the results; with --sigma DIR/noisy holds what they were made from", kRequired},
           {"--recursive", "", &o->recursive, kRecursiveHelp},
           {"--sigma", "S", &o->sigma,
            "Add Gaussian noise of this deviation (of 255) to the images first, and measure; without it they "
            "are taken as "
            "they are"},
           {"--noise-at",
            "file|model",
            &o->at,
            "Add it at the file's resolution or at the model's (default file)",
            false,
            {"file", "model"}},
           {"--noise-channels",
            "independent|shared",
            &o->channels,
            "Noise of its own for each channel or one for all (default independent)",
            false,
            {"independent", "shared"}},
           {"--grey", "", &o->grey, "Grey images in, grey results out, scored as such"},
           batch_option(&o->batch),
           {"--json", "", &o->json, "Print files and figures as JSON"}},
          [o](const Common& common) { return denoise(*o, common); },
          "figure 7, and a picture's share of table 2"};
}

const Subcommand here(denoise_command);

}  // namespace
}  // namespace om
