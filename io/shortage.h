// Of io's own, not for users: telling a lack of memory from a broken file.
//
// libzip and libwebp blame the file for much that goes wrong ("Not a zip archive"), also where malloc had
// nothing left to give; a training run would then take another image in its place and go on. malloc says so
// in errno, which nobody clears. It says so too where it found room at the second place that it looked (under
// a limit on the address space, a thread that gets no arena of its own shares another's), so what went well
// is never asked. libpng and libjpeg say it themselves (longjmp_guard.h).
#pragma once

#include <cerrno>

#include "tensor/error.h"

namespace om {

/// Spans calls into a C library.
class Shortage {
 public:
  Shortage() { errno = 0; }
  /// For a call that failed: OutOfMemory where a request for memory was refused since. The parts name the
  /// work: "to read ", file.
  template <class... Parts>
  void check(const Parts&... what) const {
    if (errno == ENOMEM) fail<OutOfMemory>("not enough memory ", what...);
  }
};

}  // namespace om
