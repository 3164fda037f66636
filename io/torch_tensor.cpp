// Tensors of torch.save's files: from the recorded call that would rebuild one to its bytes.
//
//   _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])
//   _rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype[, metadata])   untyped
//   storages
//
// metadata is a dict {"conj": .., "neg": ..} of the bits that torch keeps for lazily conjugated and negated
// views.
#include <algorithm>
#include <array>
#include <cstring>

#include "io/pytorch.h"

namespace om {

namespace {

constexpr std::size_t max_dimensions = 64;
constexpr int max_wrappers = 8;  // a parameter of a tensor of ...

constexpr std::array<std::pair<std::string_view, FileType>, 28> dtypes{
    {{"float32", FileType::f32},
     {"float", FileType::f32},
     {"float16", FileType::f16},
     {"half", FileType::f16},
     {"bfloat16", FileType::bf16},
     {"float64", FileType::f64},
     {"double", FileType::f64},
     {"int8", FileType::i8},
     {"uint8", FileType::u8},
     {"int16", FileType::i16},
     {"short", FileType::i16},
     {"int32", FileType::i32},
     {"int", FileType::i32},
     {"int64", FileType::i64},
     {"long", FileType::i64},
     {"bool", FileType::boolean},
     {"uint16", FileType::u16},
     {"uint32", FileType::u32},
     {"uint64", FileType::u64},
     {"float8_e4m3fn", FileType::f8_e4m3},
     {"float8_e5m2", FileType::f8_e5m2},
     {"float8_e4m3fnuz", FileType::f8_e4m3fnuz},
     {"float8_e5m2fnuz", FileType::f8_e5m2fnuz},
     {"float8_e8m0fnu", FileType::f8_e8m0},
     {"complex64", FileType::c64},
     {"cfloat", FileType::c64},
     {"complex128", FileType::c128},
     {"cdouble", FileType::c128}}};

std::optional<FileType> dtype_of(const PickleValue& value) {
  if (!value.is(PickleKind::global) || value.module() != "torch") return std::nullopt;
  for (const auto& [name, type] : dtypes)
    if (name == value.name()) return type;
  return std::nullopt;
}

// A tuple of integers, plain or inside torch.Size; null where it is none.
std::optional<std::vector<std::int64_t>> extents(const PickleValue& value) {
  const bool wrapped = value.is_call("torch", "Size") && value.args()->items().size() == 1;
  const PickleValue& tuple = wrapped ? *value.args()->items()[0] : value;
  const auto items = tuple.items();
  if (!(tuple.is(PickleKind::tuple) || tuple.is(PickleKind::list)) || items.size() > max_dimensions)
    return std::nullopt;
  std::vector<std::int64_t> result;
  for (const PickleValue* item : items) {
    if (!item->is(PickleKind::integer)) return std::nullopt;
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

// Two's complement, or the sign bit of a floating number.
template <class T>
void negate_integers(std::vector<std::byte>& data) {
  for (std::size_t at = 0; at < data.size(); at += sizeof(T)) {
    T value;
    std::memcpy(&value, data.data() + at, sizeof(T));
    value = static_cast<T>(0 - value);
    std::memcpy(data.data() + at, &value, sizeof(T));
  }
}

bool can_negate(FileType type) { return is_number(type) && type != FileType::boolean; }

void negate(FileTensor& tensor) {
  const std::size_t item = size_of(tensor.type);
  if (is_floating(tensor.type)) {
    for (std::size_t at = item - 1; at < tensor.data.size(); at += item) tensor.data[at] ^= std::byte{0x80};
    return;
  }
  switch (item) {
    case 1: negate_integers<std::uint8_t>(tensor.data); break;
    case 2: negate_integers<std::uint16_t>(tensor.data); break;
    case 4: negate_integers<std::uint32_t>(tensor.data); break;
    default: negate_integers<std::uint64_t>(tensor.data); break;
  }
}

// The bits of the metadata; false, with the reason, where one is set that is not known.
bool read_bits(const PickleValue& metadata, FileType type, bool& negative, std::string& why_not) {
  if (metadata.is(PickleKind::none)) return true;
  const PickleValue& dict = metadata.dict() ? *metadata.dict() : metadata;
  const auto pairs = dict.is(PickleKind::dict) ? dict.items() : std::span<const PickleValue* const>{};
  if (!dict.is(PickleKind::dict)) why_not = "tensor with metadata that are no dict";
  for (std::size_t i = 0; i < pairs.size() && why_not.empty(); i += 2) {
    const std::string_view key = pairs[i]->text();
    const bool clear = pairs[i + 1]->is(PickleKind::boolean) && pairs[i + 1]->integer() == 0;
    if (clear) continue;
    if (key != "neg") {
      why_not = text("tensor with the bit ", printable(key), " set");
    } else if (!can_negate(type)) {
      why_not = text("negated tensor of type ", name_of(type));
    } else {
      negative = true;
    }
  }
  return why_not.empty();
}

}  // namespace

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
  const bool untyped = name == "_rebuild_tensor_v3";
  if (name != "_rebuild_tensor_v2" && name != "_rebuild_tensor" && !untyped) {
    why_not = text("tensor made by ", printable(name));
    return std::nullopt;
  }

  const auto view = args.size() >= (untyped ? 7U : 4U) ? storage_view(*args[0]) : std::nullopt;
  const auto shape = view ? extents(*args[2]) : std::nullopt,
             strides = view ? extents(*args[3]) : std::nullopt;
  const bool well_formed = view && args[1]->is(PickleKind::integer) && args[1]->integer() >= 0 && shape &&
                           strides && shape->size() == strides->size();
  if (!well_formed) broken("has a tensor that it does not describe");
  const Storage& storage = storages_[view->storage];
  const auto type = untyped ? dtype_of(*args[6]) : storage.type;
  if (!type) {
    why_not = untyped ? text("tensor of the type ", printable(args[6]->name()))
                      : text("tensor in a ", printable(storage.type_name));
    return std::nullopt;
  }
  TorchTensor tensor{*type, *shape, *strides, args[1]->integer(), view->storage, 0};
  const std::size_t metadata = untyped ? 7 : 6;
  if (args.size() > metadata && !read_bits(*args[metadata], *type, tensor.negative, why_not))
    return std::nullopt;
  return check_view(std::move(tensor), *view);
}

TorchTensor PyTorchFile::check_view(TorchTensor tensor, const StorageView& view) const {
  const Storage& storage = storages_[view.storage];
  const std::uint64_t item = size_of(tensor.type);
  const std::uint64_t begin = view.begin * storage.item_size / item,
                      room = view.count * storage.item_size / item;
  std::int64_t count = 0;
  try {
    count = element_count(tensor.shape);
  } catch (const InputError& e) {
    broken("has a tensor whose ", e.what());
  }
  // In 128 bits nothing here overflows: at most 64 dimensions, extents and strides below 2^63, and a stop
  // past 2^64.
  __int128 last = tensor.offset;
  for (std::size_t d = 0; d < tensor.shape.size() && count > 0; ++d) {
    if (tensor.strides[d] < 0) broken("has a tensor with a negative stride");
    last += static_cast<__int128>(tensor.shape[d] - 1) * tensor.strides[d];
    if (last >= static_cast<__int128>(room)) break;
  }
  if (count > 0 && last >= static_cast<__int128>(room)) {
    broken("has a tensor of shape ", shape_text(tensor.shape), " that lies outside its storage of ", room);
  }
  if (static_cast<std::uint64_t>(count) > tensor_limit() / item) {
    broken("has a tensor of shape ", shape_text(tensor.shape), " that repeats too few elements");
  }
  const auto used =
      count > 0 ? static_cast<std::uint64_t>(last) + 1 - static_cast<std::uint64_t>(tensor.offset) : 0;
  tensor.offset = count > 0 ? tensor.offset + static_cast<std::int64_t>(begin) : 0;
  const bool whole = storage.entry && storage.entry->compressed && count > 0;
  tensor.read_bytes = whole ? storage.entry->size : used * item;
  if (storage.entry && !storage.entry->problem.empty()) {
    tensor.problem = text("entry ", printable(storage.entry->name), ": ", storage.entry->problem);
    tensor.read_bytes = 0;
  }
  return tensor;
}

std::uint64_t PyTorchFile::tensor_limit() const {
  return 8 * (plain_ ? source_->size() : storage_bytes_) + (std::uint64_t{1} << 20);
}

void PyTorchFile::read_storage(const Storage& storage, std::uint64_t begin, std::span<std::byte> out) const {
  if (storage.entry) {
    zip_->read_part(*storage.entry, begin, out);
  } else {
    storage.source->read_at(storage.begin + begin, out);
  }
}

FileTensor PyTorchFile::load(const TorchTensor& view) const {
  FileTensor result = gather(view);
  if (view.negative) negate(result);
  return result;
}

FileTensor PyTorchFile::gather(const TorchTensor& view) const {
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
    case 16: gather_items<16>(part.data(), view, result.data); break;
    default: gather_items<8>(part.data(), view, result.data); break;
  }
  return result;
}

}  // namespace om
