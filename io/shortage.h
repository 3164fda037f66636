// Of io's own, not for users: telling a lack of memory from a broken file.
//
// libpng, libjpeg and libzip blame the file for much that goes wrong ("Not a zip archive"), also where malloc
// had nothing left to give; a training run would then take another image in its place and go on. malloc says
// so in errno, which nobody clears.
#pragma once

#include <cerrno>

#include "tensor/error.h"

namespace om {

/// Spans calls into a C library.
class Shortage {
 public:
  Shortage() { errno = 0; }
  /// OutOfMemory where a request for memory was refused since. The parts name the work: "to read ", file.
  template <class... Parts>
  void check(const Parts&... what) const {
    if (errno == ENOMEM) fail<OutOfMemory>("not enough memory ", what...);
  }
};

}  // namespace om
