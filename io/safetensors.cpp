#include "io/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "io/atomic_file.h"
#include "tensor/error.h"

namespace om {

namespace {

constexpr std::uint64_t max_header = 100'000'000;

// In the order in which the format's own writer ranks them, narrowest first.
constexpr std::array<std::pair<std::string_view, FileType>, 19> dtypes{
    {{"BOOL", FileType::boolean},
     {"U8", FileType::u8},
     {"I8", FileType::i8},
     {"F8_E5M2", FileType::f8_e5m2},
     {"F8_E4M3", FileType::f8_e4m3},
     {"F8_E8M0", FileType::f8_e8m0},
     {"F8_E4M3FNUZ", FileType::f8_e4m3fnuz},
     {"F8_E5M2FNUZ", FileType::f8_e5m2fnuz},
     {"I16", FileType::i16},
     {"U16", FileType::u16},
     {"F16", FileType::f16},
     {"BF16", FileType::bf16},
     {"I32", FileType::i32},
     {"U32", FileType::u32},
     {"F32", FileType::f32},
     {"C64", FileType::c64},
     {"F64", FileType::f64},
     {"I64", FileType::i64},
     {"U64", FileType::u64}}};

std::size_t rank_of(FileType type) {
  return static_cast<std::size_t>(
      std::find_if(dtypes.begin(), dtypes.end(), [&](const auto& d) { return d.second == type; }) -
      dtypes.begin());
}

// Takes the header's events as they come and knows at each moment which one the format allows next, so
// nesting is bounded by the grammar and no JSON tree is built. `error` stays empty while all is well.
class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  struct Raw {
    std::optional<std::string> dtype;
    std::optional<FileType> type;  // none where the dtype is none of ours
    std::optional<std::vector<std::int64_t>> shape, offsets;
  };
  std::map<std::string, Raw> tensors;
  std::map<std::string, std::string> metadata;
  std::string error;

  bool null() override { return refuse("a null"); }
  bool boolean(bool) override { return refuse("a boolean"); }
  bool number_integer(number_integer_t) override { return refuse("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    return refuse("a number that is no integer");
  }
  bool binary(binary_t&) override { return refuse("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (at_ != Place::array) return refuse("a number");
    if (value > static_cast<number_unsigned_t>(INT64_MAX)) return refuse("a number past 2^63");
    if (array_->size() >= (field_ == "shape" ? 64u : 2u)) return refuse("too many numbers");
    array_->push_back(static_cast<std::int64_t>(value));
    return true;
  }

  bool string(string_t& value) override {
    if (at_ == Place::metadata) {
      metadata[field_] = std::move(value);
      return true;
    }
    if (at_ != Place::entry || field_ != "dtype") return refuse("a string");
    for (const auto& [name, type] : dtypes) {
      if (name == value) entry_->type = type;
    }
    entry_->dtype = std::move(value);
    return true;
  }

  bool start_object(std::size_t) override {
    if (at_ == Place::start) {
      at_ = Place::top;
    } else if (at_ == Place::top) {
      at_ = name_ == "__metadata__" ? Place::metadata : Place::entry;
      if (at_ == Place::entry) entry_ = &tensors[name_];
    } else {
      return refuse("an object");
    }
    return true;
  }

  bool key(string_t& value) override {
    if (at_ == Place::top) {
      name_ = std::move(value);
      const bool again =
          name_ == "__metadata__" ? std::exchange(seen_metadata_, true) : tensors.count(name_) > 0;
      field_.clear();
      return again ? stop("occurs twice") : true;
    }
    field_ = std::move(value);
    if (at_ == Place::metadata) {
      return metadata.count(field_) ? stop("has the key " + printable(field_) + " twice") : true;
    }
    const bool again = (field_ == "dtype" && entry_->dtype) || (field_ == "shape" && entry_->shape) ||
                       (field_ == "data_offsets" && entry_->offsets);
    if (again) return stop("has " + field_ + " twice");
    if (field_ != "dtype" && field_ != "shape" && field_ != "data_offsets") {
      return stop("has the unknown field " + printable(field_));
    }
    return true;
  }

  bool end_object() override {
    if (at_ == Place::entry && !(entry_->dtype && entry_->shape && entry_->offsets)) {
      return stop("lacks its dtype, shape or data_offsets");
    }
    at_ = at_ == Place::top ? Place::start : Place::top;
    return true;
  }

  bool start_array(std::size_t) override {
    if (at_ != Place::entry || field_ == "dtype") return refuse("an array");
    array_ = &(field_ == "shape" ? entry_->shape : entry_->offsets).emplace();
    at_ = Place::array;
    return true;
  }

  bool end_array() override {
    if (field_ == "data_offsets" && array_->size() != 2) return refuse("a count of numbers that is not two");
    at_ = Place::entry;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    error = text("the header is not valid JSON (at its byte ", position, ")");
    return false;
  }

 private:
  enum class Place { start, top, metadata, entry, array };

  bool stop(const std::string& what) {
    error = text("header entry \"", printable(name_), "\" ", what);
    return false;
  }
  bool refuse(const char* what) {
    if (at_ == Place::start || (at_ == Place::top && name_.empty())) {
      error = text("the header is not an object of objects: ", what);
      return false;
    }
    return stop(text("has ", what, field_.empty() ? "" : " in ", printable(field_)));
  }

  Place at_ = Place::start;
  std::string name_, field_;
  bool seen_metadata_ = false;
  Raw* entry_ = nullptr;
  std::vector<std::int64_t>* array_ = nullptr;
};

std::string quoted(const std::string& s) { return nlohmann::json(s).dump(); }

}  // namespace

bool safetensors_has(FileType type) { return rank_of(type) < dtypes.size(); }

bool looks_like_safetensors(const ByteSource& source) {
  if (source.size() < 10) return false;
  ByteReader in(source);
  const auto length = in.little<std::uint64_t>();
  return length >= 2 && length <= source.size() - 8 && in.u8() == '{';
}

SafeTensorsIndex::SafeTensorsIndex(std::shared_ptr<const ByteSource> source) : source_(std::move(source)) {
  const std::string& file = source_->name();
  if (!looks_like_safetensors(*source_)) fail<InputError>(file, ": not a safetensors file, or cut short");
  ByteReader in(*source_);
  const auto length = in.little<std::uint64_t>();
  if (length > max_header)
    fail<InputError>(file, ": safetensors header of ", length, " bytes, more than 100 MB");
  std::string header(length, '\0');
  in.read(std::as_writable_bytes(std::span(header)));

  HeaderReader reader;
  if (!nlohmann::json::sax_parse(header, &reader) || !reader.error.empty()) {
    fail<InputError>(file, ": ", reader.error.empty() ? "the header is not valid" : reader.error);
  }
  metadata_ = std::move(reader.metadata);

  const std::uint64_t data = 8 + length, data_size = source_->size() - data;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> spans;
  for (auto& [name, raw] : reader.tensors) {
    const auto broken = [&, &name = name](const auto&... reason) {
      fail<InputError>(file, ": tensor \"", printable(name), "\" ", reason...);
    };
    const auto begin = static_cast<std::uint64_t>((*raw.offsets)[0]),
               end = static_cast<std::uint64_t>((*raw.offsets)[1]);
    if (begin > end || end > data_size)
      broken("lies outside the file: bytes ", begin, " to ", end, " of ", data_size);
    std::int64_t count = 0;
    try {
      count = element_count(*raw.shape);
    } catch (const InputError& e) {
      broken("is broken: ", e.what());
    }
    spans.emplace_back(begin, end);
    if (!raw.type) {  // how wide its elements are is not known, so its bytes are left where they are
      skipped_.push_back(
          text(printable(name, 200), " (tensor of the unknown type ", printable(*raw.dtype), ")"));
      continue;
    }
    if (static_cast<std::uint64_t>(count) > data_size || count * size_of(*raw.type) != end - begin) {
      broken("has ", end - begin, " bytes for shape ", shape_text(*raw.shape), " of ", name_of(*raw.type));
    }
    entries_[name] = {*raw.type, std::move(*raw.shape), data + begin, data + end};
  }
  std::sort(spans.begin(), spans.end());
  std::uint64_t covered = 0;
  for (const auto& [begin, end] : spans) {
    if (begin != covered)
      fail<InputError>(file, ": tensors ", begin < covered ? "overlap" : "leave a gap", " at ", begin);
    covered = end;
  }
  if (covered != data_size) fail<InputError>(file, ": ", data_size - covered, " bytes after the last tensor");
}

FileTensor SafeTensorsIndex::load(const Entry& entry) const {
  FileTensor tensor{entry.type, entry.shape, std::vector<std::byte>(entry.end - entry.begin)};
  source_->read_at(entry.begin, tensor.data);
  return tensor;
}

namespace {

SafeTensors load_all(std::shared_ptr<const ByteSource> source) {
  const SafeTensorsIndex index(std::move(source));
  SafeTensors result;
  result.metadata = index.metadata();
  for (const auto& [name, entry] : index.entries()) result.tensors[name] = index.load(entry);
  return result;
}

}  // namespace

SafeTensors read_safetensors(const std::string& path) { return load_all(open_source(path)); }

SafeTensors parse_safetensors(std::span<const std::byte> bytes, const std::string& name) {
  return load_all(memory_source(bytes, name));
}

namespace {

using TensorOrder = std::vector<std::pair<const std::string*, const FileTensor*>>;

/// What stands before the tensors' bytes, and the order in which these follow.
std::string head_of(const std::string& path, const SafeTensors& content, TensorOrder& order) {
  const auto check_text = [&](const std::string& s, const char* what) {
    if (!is_utf8_text(s)) fail(path, ": cannot write: ", what, " \"", printable(s), "\" is not UTF-8 text");
  };
  for (const auto& [name, tensor] : content.tensors) {
    check_text(name, "tensor name");
    if (name == "__metadata__") fail(path, ": cannot write: a tensor cannot be named __metadata__");
    if (element_count(tensor.shape) * size_of(tensor.type) != tensor.data.size()) {
      fail(path, ": cannot write: tensor \"", name, "\" has ", tensor.data.size(), " bytes for shape ",
           shape_text(tensor.shape), " of ", name_of(tensor.type));
    }
    if (rank_of(tensor.type) == dtypes.size())
      fail(path, ": cannot write: tensor \"", name, "\" is of type ", name_of(tensor.type),
           ", which safetensors does not have");
    order.emplace_back(&name, &tensor);
  }
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return rank_of(a.second->type) > rank_of(b.second->type);
  });

  std::string header = "{";
  const auto separate = [&] { header += header.size() > 1 ? "," : ""; };
  if (!content.metadata.empty()) {
    header += "\"__metadata__\":{";
    const std::size_t start = header.size();
    for (const auto& [key, value] : content.metadata) {
      check_text(key, "metadata key");
      check_text(value, "metadata value");
      header += (header.size() > start ? "," : "") + quoted(key) + ":" + quoted(value);
    }
    header += "}";
  }
  std::uint64_t offset = 0;
  for (const auto& [name, tensor] : order) {
    separate();
    header += quoted(*name) + ":{\"dtype\":\"";
    header += dtypes[rank_of(tensor->type)].first;
    header += "\",\"shape\":[";
    for (std::size_t i = 0; i < tensor->shape.size(); ++i) {
      header += (i > 0 ? "," : "") + std::to_string(tensor->shape[i]);
    }
    header += text("],\"data_offsets\":[", offset, ",", offset + tensor->data.size(), "]}");
    offset += tensor->data.size();
  }
  header += "}";
  header.append((8 - header.size() % 8) % 8, ' ');
  if (header.size() > max_header) fail(path, ": cannot write: a safetensors header holds at most 100 MB");

  const auto length = static_cast<std::uint64_t>(header.size());
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + header;
}

}  // namespace

void write_safetensors(const std::string& path, const SafeTensors& content) {
  TensorOrder order;
  const std::string head = head_of(path, content, order);
  AtomicFile file(path);
  file.write(head);
  for (const auto& [name, tensor] : order) file.write(tensor->data);
  file.commit();
}

std::string safetensors_bytes(const SafeTensors& content, const std::string& name) {
  TensorOrder order;
  std::string bytes = head_of(name, content, order);
  for (const auto& [tensor_name, tensor] : order)
    bytes.append(reinterpret_cast<const char*>(tensor->data.data()), tensor->data.size());
  return bytes;
}

}  // namespace om
