// The safetensors format: 8 bytes of header length (little-endian), a JSON header, the tensors' bytes.
//
//   {"__metadata__": {"key": "text", ...}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0,
//   24]}, ...}
//
// Offsets count from the end of the header. The reader is strict, as the format's own reference is: the
// header at most 100 MB, offsets in range, in no overlap and without a gap, sizes equal to the shapes', no
// name twice, no unknown field in an entry; a tensor of an unknown element type alone is left. A broken file
// is an InputError `FILE: reason`. Source: github.com/huggingface/safetensors, "Format".
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/bytes.h"
#include "io/file_tensor.h"

namespace om {

/// A whole file in memory.
struct SafeTensors {
  std::map<std::string, FileTensor> tensors;
  std::map<std::string, std::string> metadata;
};

/// A file's header; the tensors stay where they are.
class SafeTensorsIndex {
 public:
  struct Entry {
    FileType type;
    std::vector<std::int64_t> shape;
    std::uint64_t begin, end;  ///< in the source
  };

  explicit SafeTensorsIndex(std::shared_ptr<const ByteSource> source);

  const std::map<std::string, Entry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// Tensors whose element type is none of ours, as "name (why)", fit for printing.
  const std::vector<std::string>& skipped() const { return skipped_; }
  FileTensor load(const Entry& entry) const;

 private:
  std::shared_ptr<const ByteSource> source_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
  std::vector<std::string> skipped_;
};

/// False for the one type that the format lacks, c128.
bool safetensors_has(FileType type);

/// True where the source begins like a safetensors file (a plausible length, then '{').
bool looks_like_safetensors(const ByteSource& source);

SafeTensors read_safetensors(const std::string& path);
SafeTensors parse_safetensors(std::span<const std::byte> bytes, const std::string& name);

/// Writes atomically. The same content gives the same bytes: the widest element types first (which keeps
/// every tensor aligned), then by name, as the Python package orders them; the header padded with spaces to a
/// multiple of 8. Error where a tensor's bytes do not fit its shape or a name is not UTF-8.
void write_safetensors(const std::string& path, const SafeTensors& content);
/// The same bytes in memory; `name` stands for the file in errors.
std::string safetensors_bytes(const SafeTensors& content, const std::string& name);

}  // namespace om
