// What a run reads, told by content, so that a resumed run may find it elsewhere: RUN/inputs.json,
//
//   {"generator": "..", "images": "..", "val": "..", "init": "..", "lpips": ".."}
//
// Generator, perceptual loss and the encoder that was the start are told by their weights (fingerprint() in
// train/checkpoint.h), a folder of images by its files' names and sizes. No path is in it.
#pragma once

#include <string>

#include "io/image_folder.h"

namespace om {

struct RunInputs {
  std::string generator, images, val;  ///< val empty where the run has none
  std::string init = {}, lpips = {};   ///< the same of these two, which the file then does not name
  bool operator==(const RunInputs&) const = default;
};

/// A text that differs where the names (below the folder) or sizes of two folders' images do.
std::string listing_of(const ImageFolder& folder);

/// Writes atomically.
void write_run_inputs(const std::string& path, const RunInputs& inputs);
/// All empty where there is no such file, as in the folders of older runs. InputError where it is broken.
RunInputs read_run_inputs(const std::string& path);

}  // namespace om
