// Where backends keep what is slow to find again (chosen engines, compiled programs), and how: a file is
// replaced whole, so that a reader finds the old one or the new one and never half of either. What is kept
// may be lost at any time, so a write that fails is no error.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace om {

/// ~/.cache/onemodel (or XDG_CACHE_HOME's); empty where the user has no home.
std::string cache_folder();

/// Puts these bytes at `path`, making its folder; false where that failed, and what was there stands.
bool replace_cached(const std::string& path, std::span<const char> bytes);

}  // namespace om
