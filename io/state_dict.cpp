#include "io/state_dict.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "io/bytes.h"
#include "io/flatten.h"
#include "io/npz.h"
#include "io/safetensors.h"
#include "tensor/error.h"

namespace om {

namespace {

Checkpoint open_npz(std::shared_ptr<const ByteSource> source) {
  Checkpoint result;
  result.path = source->name();
  result.format = "NumPy (npz)";
  auto file = std::make_shared<const NpzFile>(std::move(source));
  for (const NpzFile::Array& array : file->arrays()) {
    if (!is_utf8_text(array.name)) {
      result.skipped.push_back(printable(array.name, 200) + " (array whose name is not text)");
    } else if (!array.why_not.empty()) {
      result.skipped.push_back(text(printable(array.name, 200), " (", array.why_not, ")"));
    } else if (!result.tensors
                    .emplace(array.name, StoredTensor{array.header.type, array.header.shape,
                                                      [file, &array] { return file->load(array); }})
                    .second) {
      result.skipped.push_back(printable(array.name, 200) + " (second array of this name)");
    }
  }
  return result;
}

Checkpoint open_checkpoint(std::shared_ptr<const ByteSource> source) {
  Checkpoint result;
  result.path = source->name();
  if (source->size() == 0) fail<InputError>(result.path, ": is empty");
  if (looks_like_zip(*source) && looks_like_npz(ZipArchive(source))) return open_npz(std::move(source));
  if (looks_like_zip(*source) || looks_like_old_pytorch(*source) || looks_like_pickle(*source)) {
    flatten(std::make_shared<const PyTorchFile>(std::move(source)), result);
    return result;
  }
  if (looks_like_safetensors(*source)) {
    auto index = std::make_shared<const SafeTensorsIndex>(std::move(source));
    result.format = "safetensors";
    result.metadata = index->metadata();
    for (const auto& [name, entry] : index->entries()) {
      result.tensors[name] = {
          entry.type, entry.shape, [index, &entry = entry] { return index->load(entry); }, {}, name};
    }
    const std::vector<std::string>& skipped = index->skipped();
    for (std::size_t i = 0; i < std::min(skipped.size(), max_skipped); ++i)
      result.skipped.push_back(skipped[i]);
    if (skipped.size() > max_skipped)
      result.skipped.push_back(text("... and ", skipped.size() - max_skipped, " more"));
    return result;
  }
  fail<InputError>(
      result.path,
      ": not a checkpoint: neither safetensors nor a file of torch.save nor a pickle, or cut short");
}

}  // namespace

FileTensor Checkpoint::load(const std::string& name) const {
  const auto found = tensors.find(name);
  if (found == tensors.end()) fail<InputError>(path, ": has no tensor named ", printable(name));
  return found->second.read(path);
}

FileTensor StoredTensor::read(const std::string& path) const {
  if (!problem.empty()) fail<InputError>(path, ": ", printable(origin), ": ", problem);
  try {
    return load();
  } catch (const InputError& error) {
    if (std::string_view(error.what()).starts_with(path + ": ")) throw;
    fail<InputError>(path, ": ", printable(origin), ": ", error.what());
  }
}

Checkpoint read_checkpoint(const std::string& path) { return open_checkpoint(open_source(path)); }

Checkpoint parse_checkpoint(std::span<const std::byte> bytes, const std::string& name) {
  return open_checkpoint(memory_source(bytes, name));
}

}  // namespace om
