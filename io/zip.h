// Zip archives, read through libzip with limits of our own.
//
// Entries are only looked up and read into memory, never written, so their names cannot lead anywhere.
// Entries may not share bytes. An entry that holds more than 4 GiB, or more than 100 bytes (plus 64 KiB) for
// each byte it takes in the file, or that is neither stored nor deflated, is listed with its `problem` and
// refused when it is read; the others are read all the same.
//
// A checksum of 0 means "not computed" (torch.save with set_crc32_options(False) writes it); any other is
// compared before a byte of the entry is handed out, of a part too, once per entry.
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
  std::uint32_t crc = 0;  ///< 0: not computed
  std::string problem;    ///< why it cannot be read; empty where it can
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

  std::vector<std::byte> read(const ZipEntry& entry) const;
  /// Bytes [begin, begin + out.size()) of it. The first call for an entry with a checksum reads all of it;
  /// later ones of a compressed entry unpack it up to there.
  void read_part(const ZipEntry& entry, std::uint64_t begin, std::span<std::byte> out) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
  std::vector<ZipEntry> entries_;
};

/// True where the source begins with a zip signature.
bool looks_like_zip(const ByteSource& source);

}  // namespace om
