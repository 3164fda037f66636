// Shared libraries that a backend opens when they are first needed, so that the program starts and runs where
// they are missing: one table of functions a library, and one error that names where the library was looked
// for and which packages hold it. A table names each function once (tensor/opencl/api.h):
//
//   struct Api : Library {
//     Api();  // says which library
//     decltype(&clFlush) flush = find("clFlush");
//   };
#pragma once

#include <string>
#include <type_traits>
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

  /// A function's address, as a pointer of whatever type it is put into: a library does not know types.
  class Found {
   public:
    explicit Found(void* address) : address_(address) {}
    template <class Function>
    operator Function*() const {
      static_assert(std::is_function_v<Function>);
      return reinterpret_cast<Function*>(address_);
    }

   private:
    void* address_;
  };

  /// The function of that name; Error where the library has none.
  Found find(const char* name) const;

 private:
  LibraryRequest request_;
  void* handle_;
};

}  // namespace om
