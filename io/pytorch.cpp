#include "io/pytorch.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <limits>
#include <utility>

namespace om {

namespace {

constexpr std::string_view magic_bytes = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
constexpr std::string_view magic_number = "0x1950a86a20f9469cfc6c";
constexpr std::string_view magic_decimal = "119547037146038801333356";  // as the text protocols write it

struct StorageType {
  std::string_view name;
  std::optional<FileType> type;
  std::uint64_t item_size;
};

constexpr std::array storage_types{StorageType{"FloatStorage", FileType::f32, 4},
                                   StorageType{"HalfStorage", FileType::f16, 2},
                                   StorageType{"BFloat16Storage", FileType::bf16, 2},
                                   StorageType{"DoubleStorage", FileType::f64, 8},
                                   StorageType{"CharStorage", FileType::i8, 1},
                                   StorageType{"ByteStorage", FileType::u8, 1},
                                   StorageType{"ShortStorage", FileType::i16, 2},
                                   StorageType{"IntStorage", FileType::i32, 4},
                                   StorageType{"LongStorage", FileType::i64, 8},
                                   StorageType{"BoolStorage", FileType::boolean, 1},
                                   StorageType{"ComplexFloatStorage", FileType::c64, 8},
                                   StorageType{"ComplexDoubleStorage", FileType::c128, 16},
                                   StorageType{"QInt8Storage", std::nullopt, 1},
                                   StorageType{"QUInt8Storage", std::nullopt, 1},
                                   StorageType{"QInt32Storage", std::nullopt, 4},
                                   StorageType{"QUInt4x2Storage", std::nullopt, 1},
                                   StorageType{"QUInt2x4Storage", std::nullopt, 1},
                                   StorageType{"UntypedStorage", std::nullopt, 1}};

/// ("storage", type, key, device, count[, view]), as a tuple or, in protocol 0, as Python prints it.
struct StorageId {
  std::string_view module, type, key;
  std::int64_t count = 0;
  const PickleValue* view = nullptr;
};

// Takes `start` off the front of `s`; false where it does not stand there.
bool take(std::string_view& s, std::string_view start) {
  if (!s.starts_with(start)) return false;
  s.remove_prefix(start.size());
  return true;
}

// What stands before `end`, which is taken too.
std::optional<std::string_view> take_until(std::string_view& s, std::string_view end) {
  const std::size_t at = s.find(end);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view taken = s.substr(0, at);
  s.remove_prefix(at + end.size());
  return taken;
}

// ('storage', <class 'torch.FloatStorage'>, 'KEY', 'cpu', 6, None)
std::optional<StorageId> printed_id(std::string_view s) {
  if (!take(s, "('storage', <class '")) return std::nullopt;
  const auto name = take_until(s, "'>, '");
  const auto key = name ? take_until(s, "', '") : std::nullopt;
  const auto device = key ? take_until(s, "', ") : std::nullopt;
  if (!device || !(s.ends_with(", None)") || s.ends_with(")"))) return std::nullopt;
  s.remove_suffix(s.ends_with(", None)") ? 7 : 1);
  StorageId id;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), id.count);
  const std::size_t dot = name->rfind('.');
  if (error != std::errc{} || end != s.data() + s.size() || dot == std::string_view::npos)
    return std::nullopt;
  id.module = name->substr(0, dot);
  id.type = name->substr(dot + 1);
  id.key = *key;
  return id;
}

bool names_storage(const PickleValue& value) {
  const PickleValue* id = value.id();
  if (id == nullptr) return false;
  if (id->is(PickleKind::string)) return id->text().starts_with("('storage'");
  return !id->items().empty() && id->items()[0]->text() == "storage";
}

// Of a value for which names_storage holds; nothing where it is ill-formed.
std::optional<StorageId> storage_id(const PickleValue& value) {
  StorageId result;
  if (value.id()->is(PickleKind::string)) {
    const auto printed = printed_id(value.id()->text());
    if (!printed) return std::nullopt;
    result = *printed;
  } else {
    const auto id = value.id()->items();
    const bool well_formed = id.size() >= 5 && id[1]->is(PickleKind::global) &&
                             id[2]->is(PickleKind::string) && id[4]->is(PickleKind::integer);
    if (!well_formed) return std::nullopt;
    result = {id[1]->module(), id[1]->name(), id[2]->text(), id[4]->integer(), nullptr};
    if (id.size() >= 6 && !id[5]->is(PickleKind::none)) result.view = id[5];
  }
  if (result.count < 0) return std::nullopt;
  return result;
}

}  // namespace

PyTorchFile::PyTorchFile(std::shared_ptr<const ByteSource> source)
    : PyTorchFile(std::move(source), Form::file) {}

PyTorchFile::PyTorchFile(std::shared_ptr<const ByteSource> source, Form form) : source_(std::move(source)) {
  if (looks_like_old_pytorch(*source_)) {
    open_before_zip();
  } else if (form == Form::storage_alone) {
    broken("holds a storage in a format other than that before PyTorch 1.6");
  } else if (looks_like_zip(*source_)) {
    open_zip();
  } else {
    open_plain();
  }
  if (form == Form::file) register_blobs();
  for (const Storage& storage : storages_) storage_bytes_ += storage.count * storage.item_size;
}

std::string_view PyTorchFile::format() const {
  return zip_ ? "PyTorch (zip)" : plain_ ? "pickle" : "PyTorch (before 1.6)";
}

void PyTorchFile::open_plain() {
  plain_ = true;
  ByteReader in(*source_);
  pickle_ = read_pickle(in);
}

void PyTorchFile::open_zip() {
  zip_ = std::make_unique<ZipArchive>(source_);
  const ZipEntry* data = nullptr;
  for (const ZipEntry& entry : zip_->entries()) {
    const std::size_t slash = entry.name.find('/');
    if (slash == std::string::npos || entry.name.substr(slash) != "/data.pkl") continue;
    if (data) broken("zip archive with more than one data.pkl");
    data = &entry;
    prefix_ = entry.name.substr(0, slash + 1);
  }
  if (!data) broken("zip archive, but not one of torch.save: it has no data.pkl");
  if (zip_->find(prefix_ + "constants.pkl"))
    broken("a TorchScript program, not a checkpoint: save its state_dict()");
  if (const ZipEntry* order = zip_->find(prefix_ + "byteorder")) {
    const std::vector<std::byte> bytes = order->size == 6 ? zip_->read(*order) : std::vector<std::byte>{};
    if (bytes.size() != 6 || std::memcmp(bytes.data(), "little", 6) != 0)
      broken("byte order is not little-endian");
  }
  const auto bytes = memory_source(zip_->read(*data), source_->name() + ": data.pkl");
  ByteReader in(*bytes);
  pickle_ = read_pickle(in);
  register_storages();
  for (auto& [key, index] : by_key_) {
    Storage& storage = storages_[index];
    storage.entry = zip_->find(text(prefix_, "data/", key));
    if (!storage.entry) broken("lacks its storage data/", printable(key));
    if (!storage.entry->problem.empty() || storage.item_size == 0) continue;  // the tensors in it are left
    if (storage.entry->size != storage.count * storage.item_size) {
      broken("storage data/", printable(key), " has ", storage.entry->size, " bytes, not ", storage.count,
             " of ", storage.item_size);
    }
  }
}

void PyTorchFile::open_before_zip() {
  ByteReader in(*source_);
  if (const Pickle magic = read_pickle(in);
      magic.root->text() != magic_number && magic.root->text() != magic_decimal)
    broken("not a file of torch.save");
  if (const Pickle protocol = read_pickle(in); protocol.root->integer() != 1001)
    broken("PyTorch format is not 1001");
  const Pickle machine = read_pickle(in);
  if (const PickleValue* little = machine.root->get("little_endian"); !little || !little->integer()) {
    broken("byte order is not little-endian");
  }
  pickle_ = read_pickle(in);
  register_storages();
  const Pickle keys = read_pickle(in);
  if (!keys.root->is(PickleKind::list)) broken("lacks the list of its storages");
  for (const PickleValue* key : keys.root->items()) {
    const auto known = by_key_.find(key->text());
    if (known == by_key_.end()) broken("holds the unknown storage ", printable(key->text()));
    Storage& storage = storages_[known->second];
    if (std::exchange(storage.found, true)) broken("holds the storage ", printable(key->text()), " twice");
    const auto count = in.little<std::uint64_t>();
    if (count != storage.count)
      broken("storage ", printable(key->text()), " has ", count, " elements, not ", storage.count);
    if (storage.item_size == 0)
      broken("cannot be read beyond a storage of the unknown type ", printable(storage.type_name));
    storage.source = source_;
    storage.begin = in.position();
    in.skip(storage.count * storage.item_size);
  }
  for (const auto& [key, index] : by_key_) {
    if (!storages_[index].found) broken("lacks its storage ", printable(key));
  }
}

// Every persistent id of a storage in the pickle.
void PyTorchFile::register_storages() {
  pickle_.arena.for_each([&](const PickleValue& value) {
    if (!names_storage(value)) return;
    const auto id = storage_id(value);
    if (!id) broken("has a storage it does not describe");
    const auto known = std::find_if(storage_types.begin(), storage_types.end(),
                                    [&](const auto& t) { return t.name == id->type; });
    const bool unknown = known == storage_types.end() || !id->module.starts_with("torch");
    const std::uint64_t item_size = unknown ? 0 : known->item_size;
    const auto count = static_cast<std::uint64_t>(id->count);
    if (count > std::numeric_limits<std::uint64_t>::max() / 64 / std::max<std::uint64_t>(item_size, 1))
      broken("has a storage that is too large");
    const auto [place, added] = by_key_.try_emplace(std::string(id->key), storages_.size());
    if (added) {
      Storage storage;
      storage.type_name = id->type;
      if (!unknown) storage.type = known->type;
      storage.item_size = item_size;
      storage.count = count;
      storages_.push_back(std::move(storage));
    } else if (const Storage& other = storages_[place->second];
               other.type_name != id->type || other.count != count) {
      broken("describes the storage ", printable(id->key), " in two ways");
    }
  });
}

// The bytes of a storage that stands in the pickle, which keeps them but for what protocols 0 to 2 make of
// bytes.
std::shared_ptr<const ByteSource> PyTorchFile::blob_source(const PickleValue& value) const {
  if (value.is(PickleKind::bytes)) {
    const std::string_view blob = value.text();
    return memory_source(std::as_bytes(std::span(blob.data(), blob.size())), source_->name());
  }
  const auto bytes = pickle_bytes(value);
  if (!bytes) broken("has a storage it does not describe");
  const auto view = std::as_bytes(std::span(*bytes));
  return memory_source(std::vector<std::byte>(view.begin(), view.end()), source_->name());
}

// Every storage that stands in the pickle itself.
void PyTorchFile::register_blobs() {
  pickle_.arena.for_each([&](const PickleValue& value) {
    if (!value.is_call("torch.storage", "_load_from_bytes")) return;
    const auto args = value.args()->items();
    if (args.size() != 1) broken("has a storage it does not describe");
    const PyTorchFile inner(blob_source(*args[0]), Form::storage_alone);
    const auto view = inner.storage_view(inner.root());
    if (!view || view->count != inner.storages_[view->storage].count)
      broken("has a storage it does not describe");
    by_blob_.emplace(&value, storages_.size());
    storages_.push_back(inner.storages_[view->storage]);
  });
}

std::optional<PyTorchFile::StorageView> PyTorchFile::storage_view(const PickleValue& value) const {
  if (const auto blob = by_blob_.find(&value); blob != by_blob_.end())
    return StorageView{blob->second, 0, storages_[blob->second].count};
  if (!names_storage(value)) return std::nullopt;
  const auto id = storage_id(value);  // well-formed: register_storages has seen it
  const auto place = id ? by_key_.find(id->key) : by_key_.end();
  if (place == by_key_.end()) return std::nullopt;
  StorageView view{place->second, 0, storages_[place->second].count};
  if (!id->view) return view;
  const auto part = id->view->items();  // (key, offset, count)
  const bool well_formed = part.size() == 3 && part[1]->is(PickleKind::integer) &&
                           part[2]->is(PickleKind::integer) && part[1]->integer() >= 0 &&
                           part[2]->integer() >= 0;
  if (!well_formed) broken("has a part of a storage that it does not describe");
  view.begin = static_cast<std::uint64_t>(part[1]->integer());
  const auto count = static_cast<std::uint64_t>(part[2]->integer());
  if (view.begin > view.count || count > view.count - view.begin)
    broken("has a part that lies outside its storage");
  view.count = count;
  return view;
}

bool looks_like_old_pytorch(const ByteSource& source) {
  std::array<char, 32> head{};
  const std::size_t n = std::min<std::uint64_t>(source.size(), head.size());
  source.read_at(0, std::as_writable_bytes(std::span(head)).first(n));
  const std::string_view start(head.data(), n);
  return (head[0] == '\x80' && start.find(magic_bytes) != std::string_view::npos) ||
         start.starts_with(text('L', magic_decimal, "L\n."));
}

bool looks_like_pickle(const ByteSource& source) {
  std::array<char, 2> head{};
  if (source.size() < 3) return false;
  source.read_at(0, std::as_writable_bytes(std::span(head)));
  return head[0] == '\x80' && head[1] >= 2 && head[1] <= 5 && !looks_like_old_pytorch(source);
}

}  // namespace om
