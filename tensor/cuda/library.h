// CUDA's libraries lie in the loader's path or beside CUDA.
#pragma once

#include "tensor/library.h"

namespace om::cuda {

/// `file` ("libcudnn.so.9") from the loader's path, then from CUDA's folders; Error naming `purpose`, the
/// places and `packages` where there is none.
Library open_library(const char* file, const char* purpose, const char* packages);

}  // namespace om::cuda
