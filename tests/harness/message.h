// What an error says, for tests that compare its words.
#pragma once

#include <exception>
#include <string>

#include "tensor/error.h"

namespace om::test {

/// The message of the E that `body` throws; "no error" where it throws nothing.
template <class E = Error>
std::string message(const auto& body) {
  try {
    body();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("another error: ") + error.what();
  }
  return "no error";
}

}  // namespace om::test
