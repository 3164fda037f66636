#include "tensor/cuda/library.h"

#include <cstdlib>
#include <utility>

namespace om::cuda {

Library open_library(const char* file, const char* purpose, const char* packages) {
  LibraryRequest request{"cuda", file, purpose, packages};
  for (const char* variable : {"CUDNN_PATH", "NCCL_HOME", "CUDA_PATH", "CUDA_HOME"})
    if (const char* root = std::getenv(variable); root != nullptr && *root != '\0') {
      request.folders.push_back(std::string(root) + "/lib64");
      request.folders.push_back(std::string(root) + "/lib");
    }
  request.folders.emplace_back("/usr/local/cuda/lib64");
  return Library(std::move(request));
}

}  // namespace om::cuda
