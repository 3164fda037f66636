// Files of torch.save: zip archives (since 1.6) and the format before it.
//
//   zip:     NAME/data.pkl (the pickle), NAME/data/KEY (one storage each), NAME/byteorder
//   before:  five pickles (a magic number, 1001, a dict about the machine, the object, the list of storage
//   keys), then
//            for each key an int64 count of elements and the elements
//
// A tensor is in both a recorded call of torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...),
// its storage the persistent id ("storage", torch.FloatStorage, KEY, device, count). The format before zip
// may be written with the text protocols 0 and 1 too; protocol 0 has that tuple as Python prints it.
//
// A third form is a plain pickle (NVIDIA's .pkl), whose tensors hold their storages as
// torch.storage._load_from_bytes(B): B is a whole file of the format before zip with a storage as its object.
//
// Nothing is executed (io/pickle), no module is imported. Source: torch/serialization.py and torch/_utils.py
// describe all three by what they do.
//
// Bounds: every view is checked against its storage. Views may repeat elements (stride 0, tied weights), so
// all tensors together may take at most 8 times the storages' bytes plus 1 MiB; a single one is refused here,
// the sum by io/state_dict.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/bytes.h"
#include "io/file_tensor.h"
#include "io/pickle.h"
#include "io/zip.h"
#include "tensor/error.h"

namespace om {

/// A view of a storage; offset and strides count elements.
struct TorchTensor {
  FileType type;
  std::vector<std::int64_t> shape, strides;
  std::int64_t offset;
  std::size_t storage;       ///< for PyTorchFile::load
  std::uint64_t read_bytes;  ///< what load() has to read
  bool negative = false;     ///< the storage holds the negated values (torch's negative bit)
  std::string problem = {};  ///< why load() will refuse it; empty where it should not
};

/// A file, its pickle read and its storages located; tensors are read on demand. InputError `FILE: reason`
/// throughout.
class PyTorchFile {
 public:
  explicit PyTorchFile(std::shared_ptr<const ByteSource> source);

  const PickleValue& root() const { return *pickle_.root; }
  const PickleArena& arena() const { return pickle_.arena; }
  /// "PyTorch (zip)", "PyTorch (before 1.6)" or "pickle".
  std::string_view format() const;
  const ByteSource& source() const { return *source_; }

  /// True where the value is a call that rebuilds a tensor or parameter, of whatever type.
  static bool is_tensor(const PickleValue& value);
  /// Null, with the reason in `why_not`, for tensors that cannot be represented (quantised, sparse, ...).
  std::optional<TorchTensor> tensor(const PickleValue& value, std::string& why_not) const;
  /// Contiguous. Not from two threads at once.
  FileTensor load(const TorchTensor& tensor) const;

  /// The most bytes that all tensors together may take.
  std::uint64_t tensor_limit() const;

 private:
  struct Storage {
    std::string type_name;
    std::optional<FileType> type;
    std::uint64_t item_size, count;            // item_size 0: of a type that is not known
    const ZipEntry* entry = nullptr;           // zip
    std::shared_ptr<const ByteSource> source;  // before, and plain pickles
    std::uint64_t begin = 0;                   // there
    bool found = false;
  };
  struct StorageView {
    std::size_t storage;
    std::uint64_t begin, count;
  };
  enum class Form : std::uint8_t { file, storage_alone };

  PyTorchFile(std::shared_ptr<const ByteSource> source, Form form);
  void open_zip();
  void open_before_zip();
  void open_plain();
  void register_storages();
  void register_blobs();
  std::shared_ptr<const ByteSource> blob_source(const PickleValue& value) const;
  std::optional<StorageView> storage_view(const PickleValue& value) const;
  std::optional<TorchTensor> rebuild(const PickleValue& function, const PickleValue& args, int depth,
                                     std::string& why_not) const;
  TorchTensor check_view(TorchTensor tensor, const StorageView& view) const;
  FileTensor gather(const TorchTensor& view) const;
  void read_storage(const Storage& storage, std::uint64_t begin, std::span<std::byte> out) const;
  template <class... Parts>
  [[noreturn]] void broken(const Parts&... why) const {
    fail<InputError>(source_->name(), ": ", why...);
  }

  std::shared_ptr<const ByteSource> source_;
  std::unique_ptr<ZipArchive> zip_;
  std::string prefix_;  // "NAME/"
  bool plain_ = false;
  Pickle pickle_;
  std::vector<Storage> storages_;
  std::map<std::string, std::size_t, std::less<>> by_key_;
  std::map<const PickleValue*, std::size_t> by_blob_;  // by the call that loads it
  std::uint64_t storage_bytes_ = 0;
};

/// True where the source begins like the format before 1.6.
bool looks_like_old_pytorch(const ByteSource& source);

/// True where it begins as pickles of protocol 2 and later do, which torch.save's are not.
bool looks_like_pickle(const ByteSource& source);

}  // namespace om
