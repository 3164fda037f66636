// Where backends keep what is slow to find again (chosen engines, compiled programs), and how: a file is
// replaced whole, so that a reader finds the old one or the new one and never half of either. What is kept
// may be lost at any time, so a write that fails is no error.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

namespace om {

/// ~/.cache/onemodel (or XDG_CACHE_HOME's); empty where the user has no home.
std::string cache_folder();

/// What keep_cached() put at `path` under this name; nothing where the file says anything else, is torn or is
/// not there.
std::optional<std::string> read_cached(const std::string& path, const std::string& name);
/// Bytes with the name of what they are (one line) and their checksum before them. The path may be made of
/// the name's hash.
bool keep_cached(const std::string& path, const std::string& name, const std::string& bytes);
/// 16 hexadecimal digits: FNV-1a of 64 bits (Fowler, Noll, Vo). For names and checksums, not for security.
std::string cache_hash(const std::string& bytes);

/// Puts these bytes at `path`, making its folder; false where that failed, and what was there stands.
bool replace_cached(const std::string& path, std::span<const char> bytes);

}  // namespace om
