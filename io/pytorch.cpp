#include "io/pytorch.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>

#include "tensor/error.h"

namespace om {

namespace {

constexpr std::size_t max_dimensions = 64;
constexpr int max_wrappers = 8;  // a parameter of a tensor of ...
constexpr std::string_view magic_bytes = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
constexpr std::string_view magic_number = "0x1950a86a20f9469cfc6c";

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
                                   StorageType{"ComplexFloatStorage", std::nullopt, 8},
                                   StorageType{"ComplexDoubleStorage", std::nullopt, 16},
                                   StorageType{"QInt8Storage", std::nullopt, 1},
                                   StorageType{"QUInt8Storage", std::nullopt, 1},
                                   StorageType{"QInt32Storage", std::nullopt, 4},
                                   StorageType{"QUInt4x2Storage", std::nullopt, 1},
                                   StorageType{"QUInt2x4Storage", std::nullopt, 1},
                                   StorageType{"UntypedStorage", std::nullopt, 1}};

bool is_integer(const PickleValue& value) { return value.is(PickleKind::integer); }

// A tuple of integers, plain or inside torch.Size; null where it is none.
std::optional<std::vector<std::int64_t>> extents(const PickleValue& value) {
  const bool wrapped = value.is_call("torch", "Size") && value.args()->items().size() == 1;
  const PickleValue& tuple = wrapped ? *value.args()->items()[0] : value;
  const auto items = tuple.items();
  if (!(tuple.is(PickleKind::tuple) || tuple.is(PickleKind::list)) || items.size() > max_dimensions)
    return std::nullopt;
  std::vector<std::int64_t> result;
  for (const PickleValue* item : items) {
    if (!is_integer(*item)) return std::nullopt;
    result.push_back(item->integer());
  }
  return result;
}

template <std::size_t Size>
void gather_items(const std::byte* from, const TorchTensor& view, std::vector<std::byte>& out) {
  const std::size_t dimensions = view.shape.size();
  const std::int64_t inner = view.shape.back(), stride = view.strides.back();
  std::vector<std::int64_t> index(dimensions, 0);
  std::int64_t at = 0;
  for (std::byte *to = out.data(), *end = to + out.size(); to != end;) {
    for (std::int64_t i = 0; i < inner; ++i, to += Size) {
      std::memcpy(to, from + static_cast<std::size_t>(at + i * stride) * Size, Size);
    }
    for (std::size_t d = dimensions - 1; d-- > 0;) {
      at += view.strides[d];
      if (++index[d] < view.shape[d]) break;
      at -= index[d] * view.strides[d];
      index[d] = 0;
    }
  }
}

bool is_contiguous(const TorchTensor& view) {
  std::int64_t step = 1;
  for (std::size_t d = view.shape.size(); d-- > 0;) {
    if (view.shape[d] != 1 && view.strides[d] != step) return false;
    step *= view.shape[d];
  }
  return true;
}

}  // namespace

template <class... Parts>
void PyTorchFile::broken(const Parts&... why) const {
  fail<InputError>(source_->name(), ": ", why...);
}

PyTorchFile::PyTorchFile(std::shared_ptr<const ByteSource> source) : source_(std::move(source)) {
  if (looks_like_zip(*source_)) {
    open_zip();
  } else if (looks_like_old_pytorch(*source_)) {
    open_before_zip();
  } else {
    broken("not a file of torch.save");
  }
  for (const Storage& storage : storages_) storage_bytes_ += storage.count * storage.item_size;
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
    if (storage.entry->size != storage.count * storage.item_size) {
      broken("storage data/", printable(key), " has ", storage.entry->size, " bytes, not ", storage.count,
             " of ", storage.item_size);
    }
  }
}

void PyTorchFile::open_before_zip() {
  ByteReader in(*source_);
  if (read_pickle(in).root->text() != magic_number) broken("not a file of torch.save");
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
    storage.begin = in.position();
    in.skip(storage.count * storage.item_size);
  }
  for (const auto& [key, index] : by_key_) {
    if (!storages_[index].found) broken("lacks its storage ", printable(key));
  }
}

// Every persistent id ("storage", type, key, device, count[, view]) in the pickle.
void PyTorchFile::register_storages() {
  pickle_.arena.for_each([&](const PickleValue& value) {
    if (!value.is(PickleKind::persistent)) return;
    const auto id = value.id()->items();
    if (id.empty() || id[0]->text() != "storage") return;
    const bool well_formed = id.size() >= 5 && id[1]->is(PickleKind::global) &&
                             id[2]->is(PickleKind::string) && is_integer(*id[4]) && id[4]->integer() >= 0;
    if (!well_formed) broken("has a storage it does not describe");
    const std::string_view name = id[1]->name();
    const auto known = std::find_if(storage_types.begin(), storage_types.end(),
                                    [&](const auto& t) { return t.name == name; });
    if (known == storage_types.end() || !id[1]->module().starts_with("torch")) {
      broken("has a storage of the unknown type ", printable(id[1]->module()), ".", printable(name));
    }
    const auto count = static_cast<std::uint64_t>(id[4]->integer());
    if (count > std::numeric_limits<std::uint64_t>::max() / 64 / known->item_size)
      broken("has a storage that is too large");
    const auto [place, added] = by_key_.try_emplace(std::string(id[2]->text()), storages_.size());
    if (added) {
      Storage storage;
      storage.type_name = name;
      storage.type = known->type;
      storage.item_size = known->item_size;
      storage.count = count;
      storages_.push_back(std::move(storage));
    } else if (const Storage& other = storages_[place->second];
               other.type_name != name || other.count != count) {
      broken("describes the storage ", printable(id[2]->text()), " in two ways");
    }
  });
}

std::optional<PyTorchFile::StorageView> PyTorchFile::storage_view(const PickleValue& value) const {
  const PickleValue* described = value.id();
  const auto id = described ? described->items() : std::span<const PickleValue* const>{};
  if (id.empty() || id[0]->text() != "storage") return std::nullopt;
  const auto place = by_key_.find(id[2]->text());  // well-formed: register_storages has seen it
  if (place == by_key_.end()) return std::nullopt;
  StorageView view{place->second, 0, storages_[place->second].count};
  if (id.size() < 6 || id[5]->is(PickleKind::none)) return view;
  const auto part = id[5]->items();  // (key, offset, count)
  const bool well_formed = part.size() == 3 && is_integer(*part[1]) && is_integer(*part[2]) &&
                           part[1]->integer() >= 0 && part[2]->integer() >= 0;
  if (!well_formed) broken("has a part of a storage that it does not describe");
  view.begin = static_cast<std::uint64_t>(part[1]->integer());
  const auto count = static_cast<std::uint64_t>(part[2]->integer());
  if (view.begin > view.count || count > view.count - view.begin)
    broken("has a part that lies outside its storage");
  view.count = count;
  return view;
}

bool PyTorchFile::is_tensor(const PickleValue& value) {
  const PickleValue* function = value.callable();
  if (!function || !function->is(PickleKind::global)) return false;
  return (function->module() == "torch._utils" || function->module() == "torch._tensor") &&
         function->name().starts_with("_rebuild_");
}

std::optional<TorchTensor> PyTorchFile::tensor(const PickleValue& value, std::string& why_not) const {
  if (!is_tensor(value)) {
    why_not = name_of(value.kind());
    return std::nullopt;
  }
  return rebuild(*value.callable(), *value.args(), 0, why_not);
}

std::optional<TorchTensor> PyTorchFile::rebuild(const PickleValue& function, const PickleValue& arguments,
                                                int depth, std::string& why_not) const {
  const std::string_view name = function.name();
  const auto args = arguments.items();
  if (depth > max_wrappers) broken("has a tensor nested too deeply");
  if (name == "_rebuild_parameter" || name == "_rebuild_parameter_with_state") {
    if (args.empty() || !is_tensor(*args[0])) broken("has a parameter without a tensor");
    return rebuild(*args[0]->callable(), *args[0]->args(), depth + 1, why_not);
  }
  if (name == "_rebuild_from_type_v2") {  // (function, type, its arguments, state)
    if (args.size() < 3 || !args[2]->is(PickleKind::tuple)) broken("has a tensor that it does not describe");
    return rebuild(*args[0], *args[2], depth + 1, why_not);
  }
  if (name != "_rebuild_tensor_v2" && name != "_rebuild_tensor") {
    why_not = text("tensor made by ", printable(name));
    return std::nullopt;
  }

  const auto view = args.size() >= 4 ? storage_view(*args[0]) : std::nullopt;
  const auto shape = view ? extents(*args[2]) : std::nullopt,
             strides = view ? extents(*args[3]) : std::nullopt;
  const bool well_formed = view && is_integer(*args[1]) && args[1]->integer() >= 0 && shape && strides &&
                           shape->size() == strides->size();
  if (!well_formed) broken("has a tensor that it does not describe");
  const Storage& storage = storages_[view->storage];
  if (!storage.type) {
    why_not = text("tensor in a ", storage.type_name);
    return std::nullopt;
  }
  std::int64_t count = 0;
  try {
    count = element_count(*shape);
  } catch (const InputError& e) {
    broken("has a tensor whose ", e.what());
  }
  // In 128 bits nothing here overflows: at most 64 dimensions, extents and strides below 2^63, and a stop
  // past 2^64.
  __int128 last = args[1]->integer();
  for (std::size_t d = 0; d < shape->size() && count > 0; ++d) {
    if ((*strides)[d] < 0) broken("has a tensor with a negative stride");
    last += static_cast<__int128>((*shape)[d] - 1) * (*strides)[d];
    if (last >= static_cast<__int128>(view->count)) break;
  }
  if (count > 0 && last >= static_cast<__int128>(view->count)) {
    broken("has a tensor of shape ", shape_text(*shape), " that lies outside its storage of ", view->count);
  }
  const std::uint64_t limit = tensor_limit();
  if (static_cast<std::uint64_t>(count) > limit / storage.item_size) {
    broken("has a tensor of shape ", shape_text(*shape), " that repeats too few elements");
  }
  TorchTensor result{*storage.type, *shape, *strides, args[1]->integer(), view->storage, 0};
  const auto used =
      count > 0 ? static_cast<std::uint64_t>(last) + 1 - static_cast<std::uint64_t>(result.offset) : 0;
  result.offset = count > 0 ? result.offset + static_cast<std::int64_t>(view->begin) : 0;
  const bool whole = storage.entry && storage.entry->compressed && count > 0;
  result.read_bytes = whole ? storage.entry->size : used * storage.item_size;
  return result;
}

std::uint64_t PyTorchFile::tensor_limit() const { return 8 * storage_bytes_ + (std::uint64_t{1} << 20); }

void PyTorchFile::read_storage(const Storage& storage, std::uint64_t begin, std::span<std::byte> out) const {
  if (storage.entry) {
    zip_->read_part(*storage.entry, begin, out);
  } else {
    source_->read_at(storage.begin + begin, out);
  }
}

FileTensor PyTorchFile::load(const TorchTensor& view) const {
  const Storage& storage = storages_.at(view.storage);
  const std::size_t item = size_of(view.type);
  const auto count = static_cast<std::uint64_t>(element_count(view.shape));
  const std::uint64_t begin = static_cast<std::uint64_t>(view.offset) * item;
  FileTensor result{view.type, view.shape, {}};
  if (count == 0) return result;
  if (is_contiguous(view)) {
    if (storage.entry && begin == 0 && count * item == storage.entry->size) {
      result.data = zip_->read(*storage.entry);
      return result;
    }
    result.data.resize(count * item);
    read_storage(storage, begin, result.data);
    return result;
  }
  std::uint64_t used = 1;
  for (std::size_t d = 0; d < view.shape.size(); ++d) {
    used += static_cast<std::uint64_t>(view.shape[d] - 1) * static_cast<std::uint64_t>(view.strides[d]);
  }
  std::vector<std::byte> part(used * item);
  read_storage(storage, begin, part);
  result.data.resize(count * item);
  switch (item) {
    case 1: gather_items<1>(part.data(), view, result.data); break;
    case 2: gather_items<2>(part.data(), view, result.data); break;
    case 4: gather_items<4>(part.data(), view, result.data); break;
    default: gather_items<8>(part.data(), view, result.data); break;
  }
  return result;
}

bool looks_like_old_pytorch(const ByteSource& source) {
  std::array<char, 32> head{};
  const std::size_t n = std::min<std::uint64_t>(source.size(), head.size());
  source.read_at(0, std::as_writable_bytes(std::span(head)).first(n));
  return head[0] == '\x80' && std::string_view(head.data(), n).find(magic_bytes) != std::string_view::npos;
}

}  // namespace om
