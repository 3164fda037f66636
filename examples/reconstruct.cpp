// onemodel reconstruct: real images through encoder and generator, and how near the result is.
#include <fmt/core.h>

#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <set>

#include "examples/common.h"
#include "examples/inputs.h"
#include "io/model_file.h"
#include "io/resize.h"
#include "train/evaluate.h"
#include "train/flat_json.h"

namespace om {
namespace {

struct ReconstructOptions {
  std::string model, out;
  std::vector<std::string> images;
  bool json = false;
};

/// Names for the results: the input's without its ending, with a number where that is taken, by another
/// result or by one of the inputs themselves.
class OutputNames {
 public:
  OutputNames(const std::filesystem::path& folder, const std::vector<std::string>& inputs) : folder_(folder) {
    std::map<std::filesystem::path, bool> same;  // as the output's folder
    for (const std::filesystem::path input : inputs) {
      const std::filesystem::path parent = input.has_parent_path() ? input.parent_path() : ".";
      std::error_code error;
      const auto [known, fresh] = same.try_emplace(parent);
      if (fresh) known->second = std::filesystem::equivalent(parent, folder, error) && !error;
      if (known->second) taken_.insert(input.filename().string());
    }
  }

  std::filesystem::path operator()(const std::string& stem) {
    std::string name = stem + ".png";
    for (int number = 2; !taken_.insert(name).second; ++number) name = text(stem, "-", number, ".png");
    return folder_ / name;
  }

 private:
  std::filesystem::path folder_;
  std::set<std::string> taken_;
};

/// The three figures as members of a JSON object.
std::string json_members(const ImageScores& scores, const std::string& indent) {
  const auto number = [](const std::optional<double>& value) { return value ? json_text(*value) : "null"; };
  return indent + "\"psnr\": " + number(scores.psnr) + ",\n" + indent + "\"ssim\": " + number(scores.ssim) +
         ",\n" + indent + "\"ssim_wang\": " + number(scores.ssim_wang) + "\n";
}

void print_json(const std::vector<ImageScores>& scores) {
  std::string out = "{\n  \"images\": [";
  for (const ImageScores& image : scores) {
    out += &image == &scores.front() ? "\n" : ",\n";
    // a file's name need not be UTF-8, JSON must
    out +=
        "    {\n      \"file\": " + json_text(image.file) + ",\n" + json_members(image, "      ") + "    }";
  }
  std::cout << out + "\n  ],\n  \"mean\": {\n" + json_members(mean_of(scores), "    ") + "  }\n}\n";
}

void print_table(const std::vector<ImageScores>& scores) {
  const auto cell = [](const std::optional<double>& value, int digits) {
    return value ? fmt::format("{:.{}f}", *value, digits) : std::string("-");
  };
  const auto print = [&](const ImageScores& row, const std::string& name) {
    std::cout << fmt::format("{:>8} {:>8} {:>10}  {}\n", cell(row.psnr, 2), cell(row.ssim, 4),
                             cell(row.ssim_wang, 4), name);
  };
  std::cout << fmt::format("{:>8} {:>8} {:>10}  {}\n", "PSNR dB", "SSIM", "SSIM Wang", "image");
  for (const ImageScores& image : scores) print(image, image.file);
  print(mean_of(scores), text("mean of ", scores.size()));
}

int reconstruct_images(const ReconstructOptions& options, const Common& common) {
  Backend& backend = start(common);
  const std::unique_ptr<Autoencoder> model = load_autoencoder(options.model, backend);
  if (!model->encoder().config().latent_heads)
    fail<InputError>(options.model, ": the encoder predicts no latents, only noise");
  const auto side = static_cast<int>(model->decoder().size());
  make_folder(options.out);
  catch_interrupts();

  std::vector<ImageScores> scores;
  std::vector<Image> sheet_inputs, sheet_outputs;
  ImageInputs inputs(options.images);
  OutputNames output_name(options.out, inputs.files());
  const std::filesystem::path sheet = output_name("contact-sheet");
  Pace pace(inputs.files().size());
  while (const auto item = inputs.next()) {
    const Image input = resize_bilinear(item->image, side, side);
    const FloatImage result = reconstruct(*model, input, backend);
    const Image output = to_image(result);
    write_png(output_name(std::filesystem::path(item->file).stem().string()), output);
    pace.step();
    scores.push_back(score(item->file, input, result));
    if (sheet_inputs.size() == kMaxSheetImages) continue;
    sheet_inputs.push_back(input);
    sheet_outputs.push_back(output);
  }
  if (scores.empty()) return inputs.exit_code();

  write_png(sheet, contact_sheet(sheet_inputs, sheet_outputs, true));
  options.json ? print_json(scores) : print_table(scores);
  note(text("contact sheet (input, reconstruction, difference): ", sheet.string()));
  return inputs.exit_code();
}

}  // namespace

Command reconstruct_command() {
  auto o = std::make_shared<ReconstructOptions>();
  return {
      "reconstruct",
      "Reconstruct images and measure PSNR and SSIM",
      {{"--model", "FILE", &o->model, "Checkpoint with encoder and generator, PyTorch's or ours", kRequired},
       {"IMAGES", "", &o->images, "PNG or JPEG files, or folders of them", kRequired},
       {"--out", "DIR", &o->out, "Folder for the reconstructions and the contact sheet", kRequired},
       {"--json", "", &o->json, "Print the figures as JSON"}},
      [o](const Common& common) { return reconstruct_images(*o, common); }};
}

}  // namespace om
