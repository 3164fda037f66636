// onemodel reconstruct: real images through encoder and generator, and how near the result is.
#include <fmt/core.h>

#include <filesystem>
#include <iostream>
#include <memory>

#include "examples/batches.h"
#include "examples/common.h"
#include "examples/models.h"
#include "examples/outputs.h"
#include "io/model_file.h"
#include "io/shown.h"
#include "train/evaluate.h"
#include "train/flat_json.h"

namespace om {
namespace {

struct ReconstructOptions {
  std::string generator, model, out;
  std::vector<std::string> images;
  std::optional<std::int64_t> batch;
  bool recursive = false, json = false;
};

struct Result {
  std::filesystem::path output;
  ImageScores scores;
};

struct Reconstructed : FlowPicture {
  Result result;
  Image made;
};

std::vector<ImageScores> scores_of(const std::vector<Result>& results) {
  std::vector<ImageScores> scores;
  for (const Result& result : results) scores.push_back(result.scores);
  return scores;
}

/// The three figures as members of a JSON object.
std::string json_members(const ImageScores& scores, const std::string& indent) {
  const auto number = [](const std::optional<double>& value) { return value ? json_text(*value) : "null"; };
  return indent + "\"psnr\": " + number(scores.psnr) + ",\n" + indent + "\"ssim\": " + number(scores.ssim) +
         ",\n" + indent + "\"ssim_wang\": " + number(scores.ssim_wang) + "\n";
}

/// `seconds` are of encoding and decoding alone, to compare with `project`.
void print_json(const std::vector<Result>& results, double seconds) {
  std::string out = "{\n  \"images\": [";
  for (const Result& result : results) {
    out += &result == &results.front() ? "\n" : ",\n";
    // a file's name need not be UTF-8, JSON must
    out += "    {\n      \"file\": " + json_text(result.scores.file) +
           ",\n      \"output\": " + json_text(result.output.string()) + ",\n" +
           json_members(result.scores, "      ") + "    }";
  }
  std::cout << out + "\n  ],\n  \"mean\": {\n" + json_members(mean_of(scores_of(results)), "    ") +
                   "  },\n  \"images_per_second\": " +
                   json_text(static_cast<double>(results.size()) / seconds) + "\n}\n";
}

void print_table(const std::vector<Result>& results) {
  const auto cell = [](const std::optional<double>& value, int digits) {
    return value ? fmt::format("{:.{}f}", *value, digits) : std::string("-");
  };
  const auto print = [&](const ImageScores& row, const std::string& name) {
    std::cout << fmt::format("{:>8} {:>8} {:>10}  {}\n", cell(row.psnr, 2), cell(row.ssim, 4),
                             cell(row.ssim_wang, 4), shown(name));
  };
  std::cout << fmt::format("{:>8} {:>8} {:>10}  {}\n", "PSNR dB", "SSIM", "SSIM Wang", "image -> output");
  for (const Result& result : results)
    print(result.scores, result.scores.file + " -> " + result.output.string());
  print(mean_of(scores_of(results)), text("mean of ", results.size()));
}

int reconstruct_images(const ReconstructOptions& options, const Common& common) {
  check_batch("reconstruct", options.batch);
  const Session session(common);
  Backend& backend = session.backend();
  const std::unique_ptr<Autoencoder> model = open_autoencoder(options.model, options.generator, backend);
  if (!model->encoder().config().latent_heads)
    fail<InputError>(options.model, ": the encoder predicts no latents, only noise");
  const std::int64_t side = model->decoder().size();
  const std::int64_t batch = options.batch.value_or(default_batch(backend, largest_map_bytes(*model)));
  make_folder(options.out);
  catch_interrupts();

  std::vector<Result> results;
  std::vector<Image> sheet_inputs, sheet_outputs;
  ImageInputs inputs(options.images, options.recursive);
  const std::vector<std::string> files = inputs.files();
  OutputNames output_name(options.out, inputs.files_and({options.model, options.generator}));
  const std::filesystem::path sheet = output_name("contact-sheet");
  Inference inference(side, batch, reconstruction(*model, NoiseMaps::predicted, 0, MapsFor::all, backend),
                      backend);
  FlowSteps<Reconstructed> steps;
  steps.prepare = [side](const Image& image) { return resized_pair(image, side); };
  steps.accept = [&](Reconstructed& picture) { picture.result.output = output_name.of(files[picture.file]); };
  steps.finish = [&](Reconstructed& picture, const FlowOutputs& outputs) {
    const FloatImage made = to_float_image(outputs[0], side);
    picture.made = to_image(made);
    write_png(picture.result.output, picture.made);
    picture.result.scores = score(files[picture.file], picture.pair.target, made);
  };
  steps.done = [&](Reconstructed& picture) {
    results.push_back(std::move(picture.result));
    if (sheet_inputs.size() == kMaxSheetImages) return;
    sheet_inputs.push_back(std::move(picture.pair.input));
    sheet_outputs.push_back(std::move(picture.made));
  };
  run_flow(inputs, inference, steps);
  if (results.empty()) return inputs.exit_code();

  write_png(sheet, contact_sheet(sheet_inputs, sheet_outputs, true));
  options.json ? print_json(results, inference.seconds()) : print_table(results);
  note(text("contact sheet (input, reconstruction, difference): ", sheet.string()));
  return inputs.exit_code();
}

Command reconstruct_command() {
  auto o = std::make_shared<ReconstructOptions>();
  return {
      "reconstruct",
      "Reconstruct images and measure PSNR and SSIM",
      {{"--model", "FILE", &o->model, "Checkpoint with encoder and generator, PyTorch's or ours", kRequired},
       generator_option(&o->generator),
       {"IMAGES", "", &o->images, kImagesHelp, kRequired},
       {"--recursive", "", &o->recursive, kRecursiveHelp},
       {"--out", "DIR", &o->out, "Folder for the reconstructions and the contact sheet", kRequired},
       batch_option(&o->batch),
       {"--json", "", &o->json, "Print the figures as JSON"}},
      [o](const Common& common) { return reconstruct_images(*o, common); },
      "the reconstructions of figures 3 and 7, and a picture's share of table 1"};
}

const Subcommand here(reconstruct_command);

}  // namespace
}  // namespace om
