// What the subcommands of `onemodel figure` share: pictures in, a labelled sheet and its numbers out.
#pragma once

#include <memory>

#include "examples/common.h"
#include "examples/inputs.h"
#include "io/safetensors.h"
#include "io/sheet.h"
#include "models/autoencoder.h"

namespace om {

/// The options that every figure takes.
struct FigureOptions {
  std::string model, generator, out, tensors;
  std::vector<std::string> images;
  bool recursive = false;

  /// --model, --generator, the pictures, --recursive, --out and --tensors.
  std::vector<Option> list(const std::string& images_help);
};

/// A picture at the model's size.
struct FigureInput {
  std::string label;  ///< the file's name, fit for a sheet
  Image image;
  Tensor tensor;  ///< [1, S, S, 3]
};

/// The pictures named, resized; complaints about others are on stderr and in `exit_code`.
struct FigureInputs {
  std::vector<FigureInput> pictures;
  int exit_code = kDone;
};
/// UsageError where --out or --tensors would write over a picture or over one of `files`.
FigureInputs read_pictures(const FigureOptions& options, const std::vector<std::string>& files,
                           std::int64_t size, Backend& backend);

/// [1, S, S, 3] in [-1, 1] as a picture.
Image drawn(const Tensor& image);

/// Writes the sheet, and where asked for its numbers (.safetensors or .npz).
void write_figure(const FigureOptions& options, const Sheet& sheet, const SafeTensors& numbers);

/// Rows become columns and columns rows.
Sheet transposed(const Sheet& sheet);

}  // namespace om
