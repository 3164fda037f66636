// A checkpoint of any supported format as one flat list of named tensors.
//
// What the file is, its content tells, not its name: safetensors, torch.save in either format, another
// pickle (NVIDIA's), or NumPy's .npz. Nested dicts become dotted names ("g_ema.style.1.weight"; a key that
// holds dots is kept as it is), lists count from 0, and a pickled torch.nn.Module gives the names of its
// state_dict() (io/flatten). Opening reads names and shapes only; a tensor's bytes are read when it is
// loaded, so looking into a large file with its optimiser takes little memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "io/file_tensor.h"

namespace om {

/// A tensor that still lies in its file, which it keeps open.
struct StoredTensor {
  FileType type;
  std::vector<std::int64_t> shape;
  std::function<FileTensor()>
      load;                  ///< InputError where the file is broken there; not from two threads at once
  std::string problem = {};  ///< why it cannot be used; the file is read all the same. Empty where it can
  std::string origin = {};   ///< its name in the file, for messages

  /// load(), or InputError where there is a problem.
  FileTensor read(const std::string& path) const;
};

inline constexpr std::size_t max_skipped = 1000;

struct Checkpoint {
  std::string path;
  std::string format;  ///< "safetensors", "PyTorch (zip)", "PyTorch (before 1.6)", "pickle" or "NumPy (npz)"
  std::map<std::string, StoredTensor> tensors;
  std::map<std::string, std::string> metadata;  ///< of safetensors; empty for PyTorch
  /// What is no tensor, as "name (kind value)", fit for printing; at most 1,000, then one line that counts
  /// the rest.
  std::vector<std::string> skipped;
  /// Plain attributes of the network objects in NVIDIA's pickles, by their dotted names: "True", "0.01",
  /// "skip".
  std::map<std::string, std::string> settings = {};

  /// The tensor of this name, loaded; InputError naming the file where it has none.
  FileTensor load(const std::string& name) const;
};

/// Opens a checkpoint. InputError `FILE: reason` where it is missing, broken, or none that is supported.
Checkpoint read_checkpoint(const std::string& path);

/// The same from memory, which must outlive the result.
Checkpoint parse_checkpoint(std::span<const std::byte> bytes, const std::string& name);

}  // namespace om
