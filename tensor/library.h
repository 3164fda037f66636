// Shared libraries that a backend opens when they are first needed, so that the program starts and runs where
// they are missing: one table of symbols a library (tensor/cuda/cudnn.h, tensor/opencl/api.h), and one error
// that names where the library was looked for and which packages hold it.
#pragma once

#include <string>
#include <vector>

namespace om {

/// What a backend opens, and what it says where that fails.
struct LibraryRequest {
  const char* backend;                    ///< begins every error: "cuda"
  std::string file;                       ///< "libcudnn.so.9"
  const char* purpose;                    ///< "convolutions need cuDNN 9"
  const char* packages;                   ///< that hold the file
  std::vector<std::string> folders = {};  ///< looked at after the dynamic loader's own places, in order
};

class Library {
 public:
  /// Opens the file; Error naming purpose, places and packages where there is none. It is never closed:
  /// unloading such libraries while the process ends is not safe.
  explicit Library(LibraryRequest request);

  /// The function of that name; Error where the library has none.
  template <class Function>
  void find(Function& function, const char* name) const {
    function = reinterpret_cast<Function>(find(name));
  }

 private:
  void* find(const char* name) const;

  LibraryRequest request_;
  void* handle_;
};

}  // namespace om
