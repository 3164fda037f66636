#include "examples/figure.h"

#include "examples/models.h"
#include "io/npz.h"
#include "io/resize.h"
#include "io/same_file.h"
#include "io/shown.h"
#include "train/evaluate.h"

namespace om {

std::vector<Option> FigureOptions::list(const std::string& images_help) {
  return {{"--model", "FILE", &model, "Checkpoint with encoder and generator, PyTorch's or ours", kRequired},
          generator_option(&generator),
          {"IMAGES", "", &images, images_help, kRequired},
          {"--recursive", "", &recursive, kRecursiveHelp},
          {"--out", "SHEET", &out, "PNG file to write", kRequired},
          {"--tensors", "FILE", &tensors, "Keep the numbers too, as .safetensors or .npz"}};
}

FigureInputs read_pictures(const FigureOptions& options, const std::vector<std::string>& files,
                           std::int64_t size, Backend& backend) {
  FigureInputs read;
  ImageInputs inputs(options.images, options.recursive);
  for (const std::string& output : {options.out, options.tensors})
    if (!output.empty()) {
      refuse_overwriting(output, inputs.files_and(files));
      expect_writable(output);
    }
  while (const auto item = inputs.next()) {
    const Image image = resize_bilinear(item->image, static_cast<int>(size), static_cast<int>(size));
    read.pictures.push_back({shown(std::filesystem::path(item->file).filename().string()), image,
                             to_tensor(image.pixels, 1, size, backend)});
  }
  read.exit_code = inputs.exit_code();
  return read;
}

Image drawn(const Tensor& image) { return to_image(to_float_images(image).front()); }

void write_figure(const FigureOptions& options, const Sheet& sheet, const SafeTensors& numbers) {
  write_png(options.out, draw_sheet(sheet));
  if (!options.tensors.empty()) write_tensors(options.tensors, numbers);
  note(options.out);
}

Sheet transposed(const Sheet& sheet) {
  Sheet turned;
  for (const SheetRow& row : sheet.rows) turned.columns.push_back(row.label);
  std::size_t count = sheet.columns.size();
  for (const SheetRow& row : sheet.rows) count = std::max(count, row.tiles.size());
  for (std::size_t j = 0; j < count; ++j) {
    SheetRow out{j < sheet.columns.size() ? sheet.columns[j] : "", {}};
    for (const SheetRow& row : sheet.rows) out.tiles.push_back(j < row.tiles.size() ? row.tiles[j] : Image());
    turned.rows.push_back(std::move(out));
  }
  return turned;
}

}  // namespace om
