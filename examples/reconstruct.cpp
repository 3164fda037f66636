// onemodel reconstruct: real images through encoder and generator, and how near the result is.
#include <fmt/core.h>

#include <chrono>
#include <filesystem>
#include <iostream>
#include <memory>

#include "examples/common.h"
#include "examples/inputs.h"
#include "examples/models.h"
#include "examples/outputs.h"
#include "io/model_file.h"
#include "io/resize.h"
#include "io/shown.h"
#include "train/evaluate.h"
#include "train/flat_json.h"

namespace om {
namespace {

struct ReconstructOptions {
  std::string generator, model, out;
  std::vector<std::string> images;
  bool recursive = false, json = false;
};

struct Result {
  std::filesystem::path output;
  ImageScores scores;
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
  const Session session(common);
  Backend& backend = session.backend();
  const std::unique_ptr<Autoencoder> model = open_autoencoder(options.model, options.generator, backend);
  if (!model->encoder().config().latent_heads)
    fail<InputError>(options.model, ": the encoder predicts no latents, only noise");
  const auto side = static_cast<int>(model->decoder().size());
  make_folder(options.out);
  catch_interrupts();

  std::vector<Result> results;
  std::vector<Image> sheet_inputs, sheet_outputs;
  ImageInputs inputs(options.images, options.recursive);
  OutputNames output_name(options.out, inputs.files_and({options.model, options.generator}));
  const std::filesystem::path sheet = output_name("contact-sheet");
  Pace pace(inputs.files().size());
  double seconds = 0;  // of encoding and decoding alone, to compare with `project`
  while (const auto item = inputs.next()) {
    const Image input = resize_bilinear(item->image, side, side);
    const auto begin = std::chrono::steady_clock::now();
    const FloatImage result = reconstruct(*model, input, backend);
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    const Image output = to_image(result);
    const std::filesystem::path file = output_name.of(item->file);
    write_png(file, output);
    pace.step();
    results.push_back({file, score(item->file, input, result)});
    if (sheet_inputs.size() == kMaxSheetImages) continue;
    sheet_inputs.push_back(input);
    sheet_outputs.push_back(output);
  }
  if (results.empty()) return inputs.exit_code();

  write_png(sheet, contact_sheet(sheet_inputs, sheet_outputs, true));
  options.json ? print_json(results, seconds) : print_table(results);
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
       {"--json", "", &o->json, "Print the figures as JSON"}},
      [o](const Common& common) { return reconstruct_images(*o, common); },
      "the reconstructions of figures 3 and 7, and a picture's share of table 1"};
}

const Subcommand here(reconstruct_command);

}  // namespace
}  // namespace om
