// What is fuzzed: each reader of files from outside, with the memory it may take for a file of a given size.
//
// A reader may accept its bytes or throw InputError with one line that names the file. Anything else (another
// exception, a sanitizer's report, more memory) is a finding: its input is kept under
// tests/io/regressions/READER.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace om::fuzz {

using Bytes = std::span<const std::byte>;

struct Reader {
  std::string_view name;
  void (*read)(Bytes file);                      ///< all of it, calling the file "t"
  std::uint64_t (*memory)(std::uint64_t bytes);  ///< the most that may be allocated at once
};

/// pickle, zip, old_pytorch, nvidia, safetensors, png, jpeg, config, and model (tests/fuzz/model_recipe.h).
std::span<const Reader> readers();

/// The reader of that name; Error without.
const Reader& reader(std::string_view name);

struct Outcome {
  bool accepted = false;
  std::string finding;  ///< what was wrong with the way it ended; empty where nothing was
  std::uint64_t peak = 0;
};

/// Reads and judges. Memory is measured under AddressSanitizer only. Exceptions but InputError pass through.
Outcome attempt(const Reader& reader, Bytes file);

}  // namespace om::fuzz
