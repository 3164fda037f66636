// NumPy's .npz: a zip archive of .npy files, one array each.
//
//   "\x93NUMPY", version, header length, then a Python dict as text:
//   {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
//   and the elements. Source: numpy.lib.format.
//
// io/state_dict reads such a file as a checkpoint whose tensors are the arrays, under their names without
// ".npy". Little-endian floating and integer arrays in either order are read; objects (which would be
// pickles), strings, structures and big-endian numbers are left, with a line.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "io/safetensors.h"
#include "io/zip.h"

namespace om {

/// What the head of a .npy says.
struct NpyHeader {
  FileType type = FileType::f32;
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
  std::uint64_t data_begin = 0;  ///< where the elements start
};

/// The header at the start of `head`, or why the array cannot be used. InputError `NAME: reason` where it is
/// broken.
std::variant<NpyHeader, std::string> parse_npy_header(std::span<const std::byte> head,
                                                      const std::string& name);

/// True where the archive holds entries and all of them are .npy files.
bool looks_like_npz(const ZipArchive& archive);

class NpzFile {
 public:
  explicit NpzFile(std::shared_ptr<const ByteSource> source);

  struct Array {
    std::string name;  ///< without ".npy"
    ZipEntry entry;
    NpyHeader header;
    std::string why_not;  ///< not empty: cannot be used
  };
  const std::vector<Array>& arrays() const { return arrays_; }
  /// Row-major, the entry's checksum compared.
  FileTensor load(const Array& array) const;

 private:
  std::shared_ptr<const ByteSource> source_;
  ZipArchive archive_;
  std::vector<Array> arrays_;
};

/// Writes atomically; equal content gives equal bytes. bf16 has no name in NumPy: Error.
void write_npz(const std::string& path, const std::map<std::string, FileTensor>& tensors);

/// As .npz where `path` ends so, without metadata; else as safetensors.
void write_tensors(const std::string& path, const SafeTensors& content);

}  // namespace om
