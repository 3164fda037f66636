// Errors of the whole library, and the one helper that words them.
//
// Every error is an exception whose what() is one line that names the op or the file, what was expected and
// what came. The type says who is at fault, and the program's exit code follows from it (examples/main.cpp).
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace om {

/// Base of everything the library throws; exit code 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Something from outside (a file, a folder, a key) is missing, broken or unsupported; exit code 3.
class InputError : public Error {
 public:
  using Error::Error;
};

/// The caller asked for something that makes no sense (unknown option, contradicting options); exit code 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// A backend has no memory left, a library none for its work, or the system no thread; exit code 1. Where
/// operator new fails, std::bad_alloc comes instead, and means the same.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

/// All parts streamed into one string: text("got ", 3, " images").
template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  out.exceptions(std::ios::badbit);  // without memory: an exception, not half a path
  (out << ... << parts);
  return out.str();
}

/// Throws E (Error unless named) with text(parts...) as its message.
template <class E = Error, class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw E(text(parts...));
}

}  // namespace om
