// The checksums of a PNG's chunks, made right again after bytes were changed.
#pragma once

#include <cstdint>
#include <span>

namespace om::fuzz {

/// Walks the chunks by their lengths as far as they lie within the file.
void mend_png_checksums(std::span<std::uint8_t> file);

}  // namespace om::fuzz
