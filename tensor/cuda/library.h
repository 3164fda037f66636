// Shared libraries that are opened when they are first needed, so that the program starts and runs where they
// are missing: one table of symbols a library (cudnn.h, blas.h), and one error that names where the library
// was looked for and which packages hold it.
#pragma once

namespace om::cuda {

class Library {
 public:
  /// Opens `file` ("libcudnn.so.9"): where the dynamic loader looks, then beside CUDA. Error naming `purpose`
  /// ("convolutions need cuDNN 9"), the places and `packages` where there is none. It is never closed:
  /// unloading these libraries while the process ends is not safe.
  Library(const char* file, const char* purpose, const char* packages);

  /// The function of that name; Error where the library has none.
  template <class Function>
  void find(Function& function, const char* name) const {
    function = reinterpret_cast<Function>(find(name));
  }

 private:
  void* find(const char* name) const;

  const char* file_;
  void* handle_;
};

}  // namespace om::cuda
