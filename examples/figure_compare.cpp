// onemodel figure interpolate and compare: between two pictures (figures 6, 12, 13), and several models side
// by side (figures 3, 7, 8).
#include <map>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "examples/figure.h"
#include "examples/lists.h"
#include "examples/models.h"
#include "train/analysis.h"
#include "train/denoise.h"
#include "train/evaluate.h"

namespace om {
namespace {

struct InterpolateCommand {
  FigureOptions figure;
  std::int64_t steps = 7;
};

/// Three rows a pair: latent and noise, the latent alone under one fixed random noise, the noise alone with
/// the left picture's latent.
int interpolate_pictures(const InterpolateCommand& command, const Common& common) {
  if (command.steps < 2 || command.steps > 1000)
    fail<UsageError>("figure interpolate: --steps must lie between 2 and 1000");
  const Session session(common);
  Backend& backend = session.backend();
  const std::unique_ptr<Autoencoder> model =
      open_autoencoder(command.figure.model, command.figure.generator, backend);
  catch_interrupts();
  const FigureInputs inputs = read_pictures(command.figure, {command.figure.model, command.figure.generator},
                                            model->decoder().size(), backend);
  if (inputs.exit_code != kDone) return inputs.exit_code;
  if (inputs.pictures.size() < 2 || inputs.pictures.size() % 2 != 0)
    fail<UsageError>("figure interpolate: expects pairs of pictures, got ", inputs.pictures.size());
  RandomSource random(static_cast<std::uint64_t>(common.seed), backend);
  const std::vector<Tensor> fixed = model->decoder().random_noise(1, random);

  Sheet sheet{{"left input"}, {}};
  std::vector<float> positions;
  for (std::int64_t i = 0; i < command.steps; ++i) {
    positions.push_back(static_cast<float>(i) / static_cast<float>(command.steps - 1));
    sheet.columns.push_back(text(static_cast<int>(positions.back() * 100 + 0.5F), "%"));
  }
  sheet.columns.emplace_back("right input");
  SafeTensors numbers;
  numbers.tensors["t"] = make_file_tensor({command.steps}, positions);
  for (std::size_t pair = 0; pair < inputs.pictures.size() / 2; ++pair) {
    const FigureInput &left = inputs.pictures[2 * pair], &right = inputs.pictures[2 * pair + 1];
    const Code a = wplus_code(*model, left.tensor, fixed), b = wplus_code(*model, right.tensor, fixed);
    for (const Interpolation kind : kInterpolations) {
      SheetRow row{name_of(kind), {left.image}};
      std::vector<Tensor> pictures;
      for (const float t : positions) {
        stop_if_interrupted();
        pictures.push_back(picture_of(*model, interpolate(a, b, static_cast<double>(t), kind, fixed)));
        row.tiles.push_back(drawn(pictures.back()));
      }
      row.tiles.push_back(right.image);
      sheet.rows.push_back(std::move(row));
      const NoGrad no_grad;
      numbers.tensors[text(name_of(kind), ".", pair)] = to_file(concat(pictures, 0), layouts::image);
    }
  }
  write_figure(command.figure, sheet, numbers);
  return kDone;
}

struct CompareCommand {
  FigureOptions figure;
  std::vector<std::string> models;
  std::optional<double> sigma;
  bool grey = false;
};

/// A row of figure 3: one model for all pictures, or one for each.
struct Contender {
  std::string name;
  std::vector<std::string> files;
  const std::string& file(std::size_t picture) const { return files.size() == 1 ? files[0] : files[picture]; }
};

int compare(const CompareCommand& command, const Common& common) {
  std::vector<Contender> contenders;
  for (const std::string& word : command.models) {
    const Named given = named("--model", word);
    contenders.push_back({given.name, word_list("--model", given.value)});
  }
  if (command.sigma && !(*command.sigma > 0)) fail<UsageError>("figure compare: --sigma must be positive");
  const Session session(common);
  Backend& backend = session.backend();
  catch_interrupts();
  std::map<std::string, std::unique_ptr<Autoencoder>> models;
  std::int64_t size = 0;
  for (const Contender& contender : contenders)
    for (const std::string& file : contender.files) {
      if (models.contains(file)) continue;
      std::unique_ptr<Autoencoder>& model = models[file] =
          open_autoencoder(file, command.figure.generator, backend);
      if (size == 0) size = model->decoder().size();
      if (model->decoder().size() != size)
        fail<InputError>(file, ": is for ", model->decoder().size(), " pixels, the models before it for ",
                         size);
    }
  std::vector<std::string> files;
  for (const auto& [file, model] : models) files.push_back(file);
  files.push_back(command.figure.generator);
  const FigureInputs inputs = read_pictures(command.figure, files, size, backend);
  if (inputs.pictures.empty()) return inputs.exit_code;
  for (const Contender& contender : contenders)
    if (contender.files.size() != 1 && contender.files.size() != inputs.pictures.size())
      fail<UsageError>("figure compare: --model ", contender.name, " names ", contender.files.size(),
                       " files for ", inputs.pictures.size(),
                       " pictures; expects one for all or one for each");

  Sheet sheet;
  SheetRow originals{"input", {}}, noisy{text("sigma ", command.sigma.value_or(0)), {}};
  std::vector<Tensor> shown;
  for (std::size_t n = 0; n < inputs.pictures.size(); ++n) {
    const FigureInput& input = inputs.pictures[n];
    sheet.columns.push_back(input.label);
    Image picture = command.grey ? to_grey(input.image) : input.image;
    originals.tiles.push_back(picture);
    if (command.sigma) {
      picture = with_noise(picture, *command.sigma,
                           command.grey ? NoiseChannels::shared : NoiseChannels::independent,
                           static_cast<std::uint64_t>(common.seed), picture_of(input.image));
      noisy.tiles.push_back(picture);
    }
    shown.push_back(command.sigma || command.grey ? to_tensor(picture.pixels, 1, size, backend)
                                                  : input.tensor);
  }
  sheet.rows.push_back(std::move(originals));
  if (command.sigma) sheet.rows.push_back(std::move(noisy));
  SafeTensors numbers;
  const NoGrad no_grad;
  numbers.tensors["input"] = to_file(concat(shown, 0), layouts::image);
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    SheetRow row{contenders[i].name, {}};
    std::vector<Tensor> outputs;
    for (std::size_t n = 0; n < inputs.pictures.size(); ++n) {
      stop_if_interrupted();
      outputs.push_back(reconstruct(*models.at(contenders[i].file(n)), shown[n]));
      const Image output = drawn(outputs.back());
      row.tiles.push_back(command.grey ? to_grey(output) : output);
    }
    numbers.tensors[text("model.", i)] = to_file(concat(outputs, 0), layouts::image);
    sheet.rows.push_back(std::move(row));
  }
  write_figure(command.figure, sheet, numbers);
  return inputs.exit_code;
}

Command interpolate_command() {
  auto c = std::make_shared<InterpolateCommand>();
  std::vector<Option> options = c->figure.list("Pairs of pictures: left, right, left, right, ..");
  options.push_back(
      {"--steps", "N", &c->steps, "Pictures from left to right, both ends included (default 7)"});
  return {"figure interpolate", "Move latent and noise, either or both, from one picture to another", options,
          [c](const Common& common) { return interpolate_pictures(*c, common); }, "figures 6, 12 and 13"};
}

Command compare_command() {
  auto c = std::make_shared<CompareCommand>();
  std::vector<Option> options = c->figure.list("Pictures, or folders of them");
  options[0] = {"--model", "NAME=FILE", &c->models,
                "A row; given again for each. NAME=FILE,FILE,..: one for each picture", kRequired};
  options.push_back(
      {"--sigma", "S", &c->sigma, "Add seeded noise of this deviation (of 255), as figure 7 does"});
  options.push_back(
      {"--grey", "", &c->grey, "Grey pictures, noise and results, for models that were trained on such"});
  return {"figure compare", "Several models on the same pictures", options,
          [c](const Common& common) { return compare(*c, common); },
          "figures 3 and 8; with --sigma figure 7"};
}

const Subcommand here_interpolate(interpolate_command), here_compare(compare_command);

}  // namespace
}  // namespace om
