#include "tensor/cuda/library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "tensor/error.h"

namespace om::cuda {
namespace {

/// Folders beside the loader's own places, in order.
std::vector<std::string> folders() {
  std::vector<std::string> found;
  for (const char* variable : {"CUDNN_PATH", "CUDA_PATH", "CUDA_HOME"})
    if (const char* root = std::getenv(variable); root != nullptr && *root != '\0') {
      found.push_back(std::string(root) + "/lib64");
      found.push_back(std::string(root) + "/lib");
    }
  found.emplace_back("/usr/local/cuda/lib64");
  return found;
}

}  // namespace

Library::Library(const char* file, const char* purpose, const char* packages)
    : file_(file), handle_(dlopen(file, RTLD_NOW | RTLD_LOCAL)) {
  if (handle_ != nullptr) return;
  const std::string reason = dlerror();
  std::string places = "the loader's path (LD_LIBRARY_PATH)";
  for (const std::string& folder : folders()) {
    handle_ = dlopen((folder + '/' + file).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) return;
    places += ", " + folder;
  }
  fail("cuda: ", purpose, ": no ", file, " in ", places, " (packages that hold it: ", packages, "); ",
       reason);
}

void* Library::find(const char* name) const {
  void* found = dlsym(handle_, name);
  if (found == nullptr) fail("cuda: ", file_, " has no function ", name, ": it is too old");
  return found;
}

}  // namespace om::cuda
