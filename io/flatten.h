// A pickle's tree of values as one flat list of named tensors.
//
// Dicts join their keys with dots, lists count from 0; a torch.nn.Module gives its parameters, buffers and
// modules. NVIDIA's pickles hold two more kinds of object: the persistent modules of stylegan2-ada-pytorch,
// whose plain attributes ("G_ema.synthesis.b8.architecture") become settings, and TensorFlow networks, whose
// variables keep their slashes ("Gs.synthesis/4x4/Const/const") and whose static arguments become settings.
#pragma once

#include <memory>

#include "io/pytorch.h"
#include "io/state_dict.h"

namespace om {

/// Adds everything in `file` to `out`, whose path is set.
void flatten(std::shared_ptr<const PyTorchFile> file, Checkpoint& out);

}  // namespace om
