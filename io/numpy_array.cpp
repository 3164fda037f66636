#include "io/numpy_array.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <utility>

#include "tensor/error.h"

namespace om {

namespace {

constexpr std::size_t max_dimensions = 64;

constexpr std::array<std::pair<std::string_view, FileType>, 14> types{{{"f2", FileType::f16},
                                                                       {"f4", FileType::f32},
                                                                       {"f8", FileType::f64},
                                                                       {"i1", FileType::i8},
                                                                       {"i2", FileType::i16},
                                                                       {"i4", FileType::i32},
                                                                       {"i8", FileType::i64},
                                                                       {"u1", FileType::u8},
                                                                       {"u2", FileType::u16},
                                                                       {"u4", FileType::u32},
                                                                       {"u8", FileType::u64},
                                                                       {"b1", FileType::boolean},
                                                                       {"c8", FileType::c64},
                                                                       {"c16", FileType::c128}}};

bool is_numpy_call(const PickleValue& value, std::string_view part, std::string_view name) {
  const PickleValue* function = value.callable();
  if (!function || !value.args() || function->name() != name) return false;
  const std::string_view module = function->module();
  return module == text("numpy.core.", part) || module == text("numpy._core.", part);
}

std::optional<FileType> type_of(const PickleValue& dtype, std::string& why_not) {
  why_not = "array whose element type is not described";
  if (!dtype.is_call("numpy", "dtype") || dtype.args()->items().empty()) return std::nullopt;
  std::string_view code = dtype.args()->items()[0]->text();
  if (!code.empty() && (code[0] == '<' || code[0] == '|' || code[0] == '=')) code.remove_prefix(1);
  const PickleValue* state = dtype.state();
  const bool ordered = state != nullptr && state->items().size() > 1;
  why_not = text("array of the type ", printable(code));
  if (code.starts_with('>') || (ordered && state->items()[1]->text() == ">")) return std::nullopt;
  for (const auto& [name, type] : types)
    if (name == code) return type;
  return std::nullopt;
}

bool read_shape(const PickleValue& value, std::vector<std::int64_t>& shape) {
  if (!value.is(PickleKind::tuple) || value.items().size() > max_dimensions) return false;
  for (const PickleValue* extent : value.items()) {
    if (!extent->is(PickleKind::integer) || extent->integer() < 0) return false;
    shape.push_back(extent->integer());
  }
  try {
    element_count(shape);
  } catch (const InputError&) {
    return false;
  }
  return true;
}

// How many bytes pickle_bytes() would give; nothing where it would give none.
std::optional<std::uint64_t> byte_count(const PickleValue& value) {
  if (value.is(PickleKind::bytes) || value.is(PickleKind::string)) return value.text().size();
  if (value.is_call("_codecs", "encode") && !value.args()->items().empty()) {
    const std::string_view text = value.args()->items()[0]->text();  // UTF-8: continuation bytes do not count
    return static_cast<std::uint64_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
  }
  const auto bytes = pickle_bytes(value);
  if (!bytes) return std::nullopt;
  return bytes->size();
}

}  // namespace

bool is_numpy(const PickleValue& value) {
  return is_numpy_call(value, "multiarray", "_reconstruct") || is_numpy_call(value, "multiarray", "scalar") ||
         is_numpy_call(value, "numeric", "_frombuffer");
}

std::optional<NumpyArray> numpy_array(const PickleValue& value, std::string& why_not) {
  why_not = "array that it does not describe";
  if (!is_numpy(value)) return std::nullopt;
  const auto args = value.args()->items();
  const std::string_view function = value.callable()->name();
  const PickleValue *dtype = nullptr, *shape = nullptr;
  NumpyArray array;
  if (function == "_reconstruct") {
    const auto state = value.state() ? value.state()->items() : std::span<const PickleValue* const>{};
    if (state.size() != 5) return std::nullopt;
    shape = state[1];
    dtype = state[2];
    array.fortran_order = state[3]->integer() != 0;
    array.bytes = state[4];
  } else if (function == "scalar") {
    if (args.size() != 2) return std::nullopt;
    dtype = args[0];
    array.bytes = args[1];
  } else {
    if (args.size() != 4) return std::nullopt;
    array.bytes = args[0];
    dtype = args[1];
    shape = args[2];
    array.fortran_order = args[3]->text() == "F";
  }
  if (shape && !read_shape(*shape, array.shape)) return std::nullopt;
  const auto type = type_of(*dtype, why_not);
  if (!type) return std::nullopt;
  array.type = *type;
  why_not = text("array of shape ", shape_text(array.shape), " with too many or too few bytes");
  const auto size = byte_count(*array.bytes);
  const std::uint64_t item = size_of(array.type),
                      count = static_cast<std::uint64_t>(element_count(array.shape));
  if (!size || *size % item != 0 || *size / item != count) return std::nullopt;
  return array;
}

FileTensor NumpyArray::load() const {
  const auto data = pickle_bytes(*bytes);
  const std::size_t item = size_of(type), count = static_cast<std::size_t>(element_count(shape));
  if (!data || data->size() % item != 0 || data->size() / item != count)
    fail<InputError>("array of shape ", shape_text(shape), " with too many or too few bytes");
  const auto view = std::as_bytes(std::span(*data));
  FileTensor result{type, shape, {view.begin(), view.end()}};
  if (fortran_order) result.data = to_row_major(result.data, shape, item);
  return result;
}

std::optional<double> number_of(const PickleValue& value) {
  switch (value.kind()) {
    case PickleKind::boolean:
    case PickleKind::integer: return static_cast<double>(value.integer());
    case PickleKind::real: return value.real();
    default: break;
  }
  std::string why_not;
  const auto array = numpy_array(value, why_not);
  if (!array || !array->shape.empty()) return std::nullopt;
  const FileTensor scalar = array->load();
  if (scalar.type == FileType::f64) {
    double exact = 0;
    std::memcpy(&exact, scalar.data.data(), sizeof exact);
    return exact;
  }
  if (!is_number(scalar.type)) return std::nullopt;
  return static_cast<double>(to_f32(scalar)[0]);
}

}  // namespace om
