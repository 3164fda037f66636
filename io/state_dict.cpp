#include "io/state_dict.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "io/bytes.h"
#include "io/npz.h"
#include "io/pytorch.h"
#include "io/safetensors.h"
#include "tensor/error.h"

namespace om {

namespace {

constexpr int max_depth = 64;
constexpr std::size_t max_skipped = 1000, max_name = 4096;

// Walks the values of a pickle. The memo can make a dict hold itself, or share one many times over, so depth,
// visits, the bytes of names and the bytes of tensors are all limited by what the file holds.
class Flattener {
 public:
  Flattener(std::shared_ptr<const PyTorchFile> file, Checkpoint& out)
      : file_(std::move(file)),
        out_(out),
        visits_left_(16 * file_->arena().node_count() + 4096),
        names_left_(16 * file_->source().size() + (1 << 20)),
        tensors_left_(file_->tensor_limit()) {}

  void run() {
    if (PyTorchFile::is_tensor(file_->root())) {
      take_tensor("tensor", file_->root());
    } else {
      visit("", file_->root(), 0);
    }
    if (skipped_ > max_skipped) out_.skipped.push_back(text("... and ", skipped_ - max_skipped, " more"));
  }

 private:
  [[noreturn]] void broken(const std::string& why) const { fail<InputError>(out_.path, ": ", why); }

  void spend(std::uint64_t& left, std::uint64_t amount, const char* what) const {
    if (amount > left) broken(text("repeats its ", what, " too often for its size"));
    left -= amount;
  }

  void skip(const std::string& name, std::string_view what) {
    if (++skipped_ <= max_skipped) out_.skipped.push_back(text(printable(name, 200), " (", what, ")"));
  }

  std::string join(const std::string& name, std::string_view key) {
    if (name.size() + 1 + key.size() > max_name) broken("has a name of more than 4096 characters");
    spend(names_left_, name.size() + 1 + key.size(), "names");
    return name.empty() ? std::string(key) : text(name, ".", key);
  }

  void take_tensor(const std::string& name, const PickleValue& value) {
    std::string why_not;
    auto tensor = file_->tensor(value, why_not);
    if (!tensor) return skip(name, why_not);
    if (!is_utf8_text(name)) return skip(name, "tensor whose name is not text");
    const auto bytes = static_cast<std::uint64_t>(element_count(tensor->shape)) * size_of(tensor->type);
    spend(tensors_left_, std::max(bytes, tensor->read_bytes), "tensors");
    StoredTensor stored{tensor->type, tensor->shape, nullptr};
    stored.load = [file = file_, view = std::move(*tensor)] { return file->load(view); };
    if (!out_.tensors.emplace(name, std::move(stored)).second)
      broken(text("has two tensors named ", printable(name)));
  }

  void visit(const std::string& name, const PickleValue& value, int depth) {
    spend(visits_left_, 1, "values");
    if (depth > max_depth) broken("is nested too deeply");
    switch (value.kind()) {
      case PickleKind::dict: return visit_dict(name, value, depth);
      case PickleKind::list:
      case PickleKind::tuple: return visit_list(name, value, depth);
      case PickleKind::call:
        return PyTorchFile::is_tensor(value) ? take_tensor(name, value) : visit_object(name, value, depth);
      default: skip(name, describe(value));
    }
  }

  void visit_dict(const std::string& name, const PickleValue& dict, int depth) {
    const auto pairs = dict.items();
    for (std::size_t i = 0; i < pairs.size(); i += 2) visit_pair(name, *pairs[i], *pairs[i + 1], depth);
  }

  void visit_pair(const std::string& name, const PickleValue& key, const PickleValue& value, int depth) {
    if (key.is(PickleKind::string)) {
      visit(join(name, key.text()), value, depth + 1);
    } else if (key.is(PickleKind::integer)) {
      visit(join(name, std::to_string(key.integer())), value, depth + 1);
    } else {
      skip(name, text("entry whose key is a ", name_of(key.kind())));
    }
  }

  void visit_list(const std::string& name, const PickleValue& list, int depth) {
    const auto items = list.items();
    const auto is_plain = [](const PickleValue* item) {
      const PickleKind kind = item->kind();
      return kind < PickleKind::tuple || kind == PickleKind::global || kind == PickleKind::persistent;
    };
    if (std::all_of(items.begin(), items.end(), is_plain)) {
      return skip(name, text(name_of(list.kind()), " of ", items.size(), " plain values"));
    }
    for (std::size_t i = 0; i < items.size(); ++i) visit(join(name, std::to_string(i)), *items[i], depth + 1);
  }

  // An OrderedDict (or another class made of a dict or list), or an instance whose state may be a module's.
  void visit_object(const std::string& name, const PickleValue& object, int depth) {
    if (object.is_call("collections", "OrderedDict") && object.args()->items().size() == 1) {
      const PickleValue& pairs = *object.args()->items()[0];  // as Python 2 wrote it: [[key, value], ...]
      for (const PickleValue* pair : pairs.items()) {
        if (pair->items().size() == 2) visit_pair(name, *pair->items()[0], *pair->items()[1], depth);
      }
    }
    const PickleValue* state = object.state();
    const bool is_module =
        state && state->get("_parameters") && state->get("_buffers") && state->get("_modules");
    if (is_module) {
      for (const char* part : {"_parameters", "_buffers", "_modules"})
        visit_module_part(name, *state->get(part), depth);
    }
    if (object.dict()) visit_dict(name, *object.dict(), depth);
    if (object.list()) visit_list(name, *object.list(), depth);
    const bool is_dict = object.is_call("collections", "OrderedDict");
    if (!is_module && !is_dict && !object.dict() && !object.list()) skip(name, describe(object));
  }

  void visit_module_part(const std::string& name, const PickleValue& part, int depth) {
    const PickleValue& dict = part.dict() ? *part.dict() : part;
    const auto pairs = dict.is(PickleKind::dict) ? dict.items() : std::span<const PickleValue* const>{};
    for (std::size_t i = 0; i < pairs.size(); i += 2) {
      if (!pairs[i + 1]->is(PickleKind::none)) visit_pair(name, *pairs[i], *pairs[i + 1], depth);
    }
  }

  static std::string describe(const PickleValue& value) {
    const std::string_view kind = name_of(value.kind());
    switch (value.kind()) {
      case PickleKind::none: return "None";
      case PickleKind::boolean: return value.integer() ? "True" : "False";
      case PickleKind::integer: return text(kind, " ", value.integer());
      case PickleKind::real: return text(kind, " ", value.real());
      case PickleKind::string: return text(kind, " \"", printable(value.text(), 60), "\"");
      case PickleKind::bytes: return text(value.text().size(), " bytes");
      case PickleKind::global:
        return text(kind, " ", printable(value.module()), ".", printable(value.name()));
      case PickleKind::call: {
        const PickleValue& of = *value.callable();
        if (!of.is(PickleKind::global)) return std::string(kind);
        return text(kind, " ", printable(of.module()), ".", printable(of.name()));
      }
      default: return std::string(kind);
    }
  }

  std::shared_ptr<const PyTorchFile> file_;
  Checkpoint& out_;
  std::uint64_t visits_left_, names_left_, tensors_left_;
  std::uint64_t skipped_ = 0;
};

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
  if (looks_like_zip(*source) || looks_like_old_pytorch(*source)) {
    auto file = std::make_shared<const PyTorchFile>(std::move(source));
    result.format = file->is_zip() ? "PyTorch (zip)" : "PyTorch (before 1.6)";
    Flattener(std::move(file), result).run();
    return result;
  }
  if (looks_like_safetensors(*source)) {
    auto index = std::make_shared<const SafeTensorsIndex>(std::move(source));
    result.format = "safetensors";
    result.metadata = index->metadata();
    for (const auto& [name, entry] : index->entries()) {
      result.tensors[name] = {entry.type, entry.shape,
                              [index, &entry = entry] { return index->load(entry); }};
    }
    return result;
  }
  if (ByteReader(*source).u8() == 0x80) {
    fail<InputError>(result.path, ": a pickle, but none of torch.save; other pickles are not supported");
  }
  fail<InputError>(result.path,
                   ": not a checkpoint: neither safetensors nor a file of torch.save, or cut short");
}

}  // namespace

FileTensor Checkpoint::load(const std::string& name) const {
  const auto found = tensors.find(name);
  if (found == tensors.end()) fail<InputError>(path, ": has no tensor named ", printable(name));
  return found->second.load();
}

Checkpoint read_checkpoint(const std::string& path) { return open_checkpoint(open_source(path)); }

Checkpoint parse_checkpoint(std::span<const std::byte> bytes, const std::string& name) {
  return open_checkpoint(memory_source(bytes, name));
}

}  // namespace om
