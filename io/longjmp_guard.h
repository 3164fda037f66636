// libpng and libjpeg report errors by a callback that must not return; C leaves only longjmp for that.
//
// C++ allows longjmp over frames that hold no objects with destructors. So every object lives outside, and
// the calls into the library stand in a step without such locals: guarded(escape, [&] {
// jpeg_start_decompress(&info); }).
#pragma once

#include <csetjmp>
#include <cstdio>

#include "tensor/error.h"

namespace om {

/// Where to go on an error, and the library's reason for it.
struct Escape {
  std::jmp_buf target;
  char reason[256] = "";
  bool no_memory = false;  ///< the library, or what it called, was refused memory

  /// For a step that was left: OutOfMemory where memory was refused. The parts name the work: "to read ",
  /// file.
  template <class... Parts>
  void check_memory(const Parts&... what) const {
    if (no_memory) fail<OutOfMemory>("not enough memory ", what...);
  }
};

/// Called from an error callback: leaves the guarded step that is running.
[[noreturn]] inline void escape_with(Escape& escape, const char* reason) {
  std::snprintf(escape.reason, sizeof escape.reason, "%s", reason);
  std::longjmp(escape.target, 1);
}

/// Runs `step`; false if the library escaped from it. The step may throw, but only outside library calls.
template <class Step>
bool guarded(Escape& escape, const Step& step) {
  if (setjmp(escape.target) != 0) return false;
  step();
  return true;
}

}  // namespace om
