// Checkpoints that are well formed as files and wrong as models: edits of a small autoencoder's list of
// tensors, read from bytes, so that a fuzzer reaches what stands behind the file formats (io/model_file).
//
//   recipe: 4 bytes an edit: what, which tensor, which dimension, a number
#pragma once

#include <cstddef>
#include <span>

#include "io/state_dict.h"

namespace om::fuzz {

/// The autoencoder (8 pixels, 2 channels) after the edits. Tensors of more than 65,536 elements are dropped:
/// a file that held them would be large.
Checkpoint checkpoint_of(std::span<const std::byte> recipe);

}  // namespace om::fuzz
