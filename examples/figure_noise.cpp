// onemodel figure noise-maps, noise-shift and colour-grid: what the predicted noise maps hold (paper, section
// 4.2).
#include <algorithm>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "examples/figure.h"
#include "examples/models.h"
#include "train/analysis.h"
#include "train/evaluate.h"

namespace om {
namespace {

const std::vector<double> kPaperFactors = {-2, -0.75, 0.5, 1.75, 3};

/// A map as a grey picture of the model's size, without smoothing.
Image map_picture(const Tensor& map, std::int64_t size) {
  const NoGrad no_grad;
  const Tensor grey = normalised_map(map) * 2 - 1;
  const Shape rgb{1, map.size(1), map.size(2), 3};
  return enlarge(drawn(broadcast(grey, rgb)),
                 static_cast<int>(std::max<std::int64_t>(1, size / map.size(1))));
}

/// The maps asked for, all where none was. UsageError where one does not exist.
std::vector<std::int64_t> chosen_maps(std::vector<std::int64_t> maps, const Decoder& decoder) {
  const auto count = static_cast<std::int64_t>(decoder.noise_sizes().size());
  const bool all = maps.empty();
  for (const std::int64_t map : maps)
    if (map < 0 || map >= count)
      fail<UsageError>("--maps: this generator has the noise maps 0 to ", count - 1, ", got ", map);
  for (std::int64_t map = 0; all && map < count; ++map) maps.push_back(map);
  return maps;
}

std::string map_label(const Decoder& decoder, std::int64_t map) {
  const std::int64_t side = decoder.noise_sizes()[static_cast<std::size_t>(map)];
  return text("map ", map, ", ", side, "x", side);
}

FileTensor numbers_tensor(const std::vector<double>& values) {
  const std::vector<float> floats(values.begin(), values.end());
  return make_file_tensor({static_cast<std::int64_t>(floats.size())}, floats);
}

FileTensor integers(const std::vector<std::int64_t>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {FileType::i64, {static_cast<std::int64_t>(values.size())}, {bytes.begin(), bytes.end()}};
}

/// [N, 3, S, S] of pictures [1, S, S, 3].
FileTensor pictures_tensor(const std::vector<Tensor>& pictures) {
  const NoGrad no_grad;
  return to_file(concat(pictures, 0), layouts::image);
}

struct Opened {
  Backend& backend;
  std::unique_ptr<Autoencoder> model;
  FigureInputs inputs;
  std::vector<Tensor> noise;  // for an encoder that predicts none
};

Opened open(const FigureOptions& options, const Common& common) {
  const Session session(common);
  Backend& backend = session.backend();
  std::unique_ptr<Autoencoder> model = open_autoencoder(options.model, options.generator, backend);
  catch_interrupts();
  FigureInputs inputs =
      read_pictures(options, {options.model, options.generator}, model->decoder().size(), backend);
  RandomSource random(static_cast<std::uint64_t>(common.seed), backend);
  std::vector<Tensor> noise = model->decoder().random_noise(1, random);
  return {backend, std::move(model), std::move(inputs), std::move(noise)};
}

struct NoiseMapsCommand {
  FigureOptions figure;
  std::int64_t columns = 5;
};

/// Figure 4: a picture, its reconstruction, and its noise maps tiled beside them.
int noise_maps(const NoiseMapsCommand& command, const Common& common) {
  if (command.columns < 1) fail<UsageError>("figure noise-maps: --columns must be at least 1");
  const Opened opened = open(command.figure, common);
  if (opened.inputs.pictures.empty()) return opened.inputs.exit_code;
  const Decoder& decoder = opened.model->decoder();
  Sheet sheet{{"input", "reconstruction", "noise maps, 4x4 first"}, {}};
  std::vector<std::vector<Tensor>> maps(decoder.noise_sizes().size());
  for (const FigureInput& input : opened.inputs.pictures) {
    stop_if_interrupted();
    const Code code = wplus_code(*opened.model, input.tensor, opened.noise);
    std::vector<Image> pictures;
    for (std::size_t i = 0; i < code.noise.size(); ++i) {
      pictures.push_back(map_picture(code.noise[i], decoder.size()));
      maps[i].push_back(code.noise[i]);
    }
    sheet.rows.push_back({input.label,
                          {input.image, drawn(picture_of(*opened.model, code)),
                           tile(pictures, static_cast<int>(command.columns))}});
  }
  SafeTensors numbers;
  const NoGrad no_grad;
  for (std::size_t i = 0; i < maps.size(); ++i)
    numbers.tensors[text("noise.", i)] = to_file(concat(maps[i], 0), layouts::image);
  write_figure(command.figure, sheet, numbers);
  return opened.inputs.exit_code;
}

struct NoiseShiftCommand {
  FigureOptions figure;
  std::vector<double> factors = kPaperFactors;
  std::vector<std::int64_t> maps;
  bool transpose = false;
};

/// Figures 5 and 9 to 11: a row per map, its values times each factor, the other maps as predicted.
int noise_shift(const NoiseShiftCommand& command, const Common& common) {
  const Opened opened = open(command.figure, common);
  const std::vector<std::int64_t> maps = chosen_maps(command.maps, opened.model->decoder());
  if (opened.inputs.pictures.empty()) return opened.inputs.exit_code;
  Sheet sheet{{"noise map"}, {}};
  for (const double factor : command.factors) sheet.columns.push_back(text("x ", factor));
  SafeTensors numbers{{{"factors", numbers_tensor(command.factors)}, {"maps", integers(maps)}}, {}};
  for (std::size_t n = 0; n < opened.inputs.pictures.size(); ++n) {
    const FigureInput& input = opened.inputs.pictures[n];
    const Code code = wplus_code(*opened.model, input.tensor, opened.noise);
    std::vector<Tensor> pictures;
    for (const std::int64_t map : maps) {
      SheetRow row{map_label(opened.model->decoder(), map),
                   {map_picture(code.noise[static_cast<std::size_t>(map)], opened.model->decoder().size())}};
      for (const double factor : command.factors) {
        stop_if_interrupted();
        pictures.push_back(picture_of(*opened.model, scaled_noise(code, map, factor)));
        row.tiles.push_back(drawn(pictures.back()));
      }
      if (opened.inputs.pictures.size() > 1) row.label = input.label + ": " + row.label;
      sheet.rows.push_back(std::move(row));
    }
    numbers.tensors[text("image.", n)] = pictures_tensor(pictures);
  }
  write_figure(command.figure, command.transpose ? transposed(sheet) : sheet, numbers);
  return opened.inputs.exit_code;
}

struct ColourGridCommand {
  FigureOptions figure;
  std::vector<double> factors = kPaperFactors;
  std::vector<std::int64_t> maps;
};

/// Two maps' factors against one another: the first's are the rows, the second's the columns.
int colour_grid(const ColourGridCommand& command, const Common& common) {
  const Opened opened = open(command.figure, common);
  const std::vector<std::int64_t> maps = chosen_maps(command.maps, opened.model->decoder());
  if (maps.size() != 2 || maps[0] == maps[1])
    fail<UsageError>("figure colour-grid: --maps expects two different noise maps");
  if (opened.inputs.pictures.empty()) return opened.inputs.exit_code;
  Sheet sheet;
  for (const double factor : command.factors) sheet.columns.push_back(text("map ", maps[1], " x ", factor));
  SafeTensors numbers{{{"factors", numbers_tensor(command.factors)}, {"maps", integers(maps)}}, {}};
  for (std::size_t n = 0; n < opened.inputs.pictures.size(); ++n) {
    const FigureInput& input = opened.inputs.pictures[n];
    const Code code = wplus_code(*opened.model, input.tensor, opened.noise);
    std::vector<Tensor> pictures;
    for (const double of_rows : command.factors) {
      SheetRow row{text("map ", maps[0], " x ", of_rows), {}};
      const Code scaled = scaled_noise(code, maps[0], of_rows);
      for (const double factor : command.factors) {
        stop_if_interrupted();
        pictures.push_back(picture_of(*opened.model, scaled_noise(scaled, maps[1], factor)));
        row.tiles.push_back(drawn(pictures.back()));
      }
      if (opened.inputs.pictures.size() > 1) row.label = input.label + ": " + row.label;
      sheet.rows.push_back(std::move(row));
    }
    numbers.tensors[text("image.", n)] = pictures_tensor(pictures);
  }
  write_figure(command.figure, sheet, numbers);
  return opened.inputs.exit_code;
}

template <class C>
std::vector<Option> options_of(C& command, std::vector<Option> more) {
  std::vector<Option> options = command.figure.list("Pictures, or folders of them");
  options.insert(options.end(), more.begin(), more.end());
  return options;
}

Command noise_maps_command() {
  auto c = std::make_shared<NoiseMapsCommand>();
  return {"figure noise-maps", "Draw the noise maps that the encoder predicts",
          options_of(*c, {{"--columns", "N", &c->columns, "Maps side by side (default 5)"}}),
          [c](const Common& common) { return noise_maps(*c, common); }, "figure 4"};
}

Command noise_shift_command() {
  auto c = std::make_shared<NoiseShiftCommand>();
  return {
      "figure noise-shift", "Multiply one noise map at a time",
      options_of(*c, {{"--factors", "LIST", &c->factors, "Factors (default -2,-0.75,0.5,1.75,3)"},
                      {"--maps", "LIST", &c->maps, "Noise maps, counted from 0 (default: all)"},
                      {"--transpose", "", &c->transpose, "A column per map, as figures 9 to 11 have it"}}),
      [c](const Common& common) { return noise_shift(*c, common); },
      "figure 5; with --transpose figures 9 to 11"};
}

Command colour_grid_command() {
  auto c = std::make_shared<ColourGridCommand>();
  return {"figure colour-grid", "Multiply two noise maps, one against the other",
          options_of(*c, {{"--maps", "I,J", &c->maps, "The maps of rows and columns", kRequired},
                          {"--factors", "LIST", &c->factors, "Factors (default -2,-0.75,0.5,1.75,3)"}}),
          [c](const Common& common) { return colour_grid(*c, common); },
          "section 4.2: noise that codes colour"};
}

const Subcommand here_maps(noise_maps_command), here_shift(noise_shift_command),
    here_grid(colour_grid_command);

}  // namespace
}  // namespace om
