// Zip archives, read through libzip with limits of our own.
//
// Entries are only looked up and read into memory, never written, so their names cannot lead anywhere. An
// entry may hold at most 4 GiB, and at most 100 bytes (plus 64 KiB) for each byte it takes in the file;
// entries may not share bytes, and are stored or deflated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/bytes.h"

namespace om {

struct ZipEntry {
  std::string name;
  std::uint64_t index;
  std::uint64_t size;  ///< uncompressed, as the directory claims
  bool compressed;
};

/// InputError `FILE: reason` from every member where the archive is broken. One thread at a time.
class ZipArchive {
 public:
  explicit ZipArchive(std::shared_ptr<const ByteSource> source);
  ~ZipArchive();
  ZipArchive(const ZipArchive&) = delete;
  ZipArchive& operator=(const ZipArchive&) = delete;

  const std::vector<ZipEntry>& entries() const { return entries_; }
  /// The entry of exactly this name, else null; the first of several.
  const ZipEntry* find(std::string_view name) const;

  /// The whole entry, its checksum compared.
  std::vector<std::byte> read(const ZipEntry& entry) const;
  /// Bytes [begin, begin + out.size()) of it; a compressed entry is unpacked up to there.
  void read_part(const ZipEntry& entry, std::uint64_t begin, std::span<std::byte> out) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
  std::vector<ZipEntry> entries_;
};

/// True where the source begins with a zip signature.
bool looks_like_zip(const ByteSource& source);

}  // namespace om
