#include "tensor/library.h"

#include <dlfcn.h>

#include <utility>

#include "tensor/error.h"

namespace om {

Library::Library(LibraryRequest request)
    : request_(std::move(request)), handle_(dlopen(request_.file.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (handle_ != nullptr) return;
  const std::string reason = dlerror();
  std::string places = "the loader's path (LD_LIBRARY_PATH)";
  for (const std::string& folder : request_.folders) {
    handle_ = dlopen((folder + "/" + request_.file).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) return;
    places += ", " + folder;
  }
  fail(request_.backend, ": ", request_.purpose, ": no ", request_.file, " in ", places,
       " (packages that hold it: ", request_.packages, "); ", reason);
}

Library::Found Library::find(const char* name) const {
  void* found = dlsym(handle_, name);
  if (found == nullptr)
    fail(request_.backend, ": ", request_.file, " has no function ", name, ": it is too old");
  return Found(found);
}

}  // namespace om
