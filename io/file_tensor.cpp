#include "io/file_tensor.h"

#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "tensor/error.h"

static_assert(std::endian::native == std::endian::little,
              "files are little-endian, and so must the machine be");

namespace om {

namespace {

struct TypeInfo {
  std::string_view name;
  std::size_t size;
};

constexpr std::array<TypeInfo, 20> types{
    {{"f16", 2},         {"bf16", 2},        {"f32", 4},     {"f64", 8},     {"i8", 1},
     {"u8", 1},          {"i16", 2},         {"i32", 4},     {"i64", 8},     {"bool", 1},
     {"u16", 2},         {"u32", 4},         {"u64", 8},     {"f8_e4m3", 1}, {"f8_e5m2", 1},
     {"f8_e4m3fnuz", 1}, {"f8_e5m2fnuz", 1}, {"f8_e8m0", 1}, {"c64", 8},     {"c128", 16}}};
static_assert(types.size() == static_cast<std::size_t>(FileType::c128) + 1);

// out[i] = convert(i-th element of type T)
template <class T, class Convert>
void read_as(std::span<const std::byte> data, std::span<float> out, Convert convert) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, data.data() + i * sizeof(T), sizeof(T));
    out[i] = convert(value);
  }
}

template <class T, class Convert>
void write_as(std::span<const float> values, std::span<std::byte> data, Convert convert) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const T value = convert(values[i]);
    std::memcpy(data.data() + i * sizeof(T), &value, sizeof(T));
  }
}

}  // namespace

std::size_t size_of(FileType type) { return types[static_cast<std::size_t>(type)].size; }

std::string_view name_of(FileType type) { return types[static_cast<std::size_t>(type)].name; }

bool is_floating(FileType type) { return type <= FileType::f64; }

bool is_number(FileType type) { return type <= FileType::boolean; }

std::int64_t element_count(std::span<const std::int64_t> shape) {
  constexpr std::int64_t most = std::int64_t{1} << 60;
  std::int64_t count = 1;
  bool empty = false;
  for (const std::int64_t extent : shape) {
    if (extent < 0) fail<InputError>("shape ", shape_text(shape), " has a negative extent");
    if (extent == 0) {
      empty = true;
    } else {
      if (extent > most / count) fail<InputError>("shape ", shape_text(shape), " is too large");
      count *= extent;
    }
  }
  return empty ? 0 : count;
}

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string result = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) result += ", ";
    if (i == 16) return result + "...]";
    result += std::to_string(shape[i]);
  }
  return result + "]";
}

std::vector<float> to_f32(const FileTensor& tensor) {
  std::vector<float> out(tensor.data.size() / size_of(tensor.type));
  const std::span<const std::byte> data = tensor.data;
  const auto plain = [](auto value) { return static_cast<float>(value); };
  switch (tensor.type) {
    case FileType::f16: read_as<std::uint16_t>(data, out, half_to_float); break;
    case FileType::bf16: read_as<std::uint16_t>(data, out, bfloat16_to_float); break;
    case FileType::f32: read_as<float>(data, out, plain); break;
    case FileType::f64: read_as<double>(data, out, plain); break;
    case FileType::i8: read_as<std::int8_t>(data, out, plain); break;
    case FileType::u8: read_as<std::uint8_t>(data, out, plain); break;
    case FileType::i16: read_as<std::int16_t>(data, out, plain); break;
    case FileType::i32: read_as<std::int32_t>(data, out, plain); break;
    case FileType::i64: read_as<std::int64_t>(data, out, plain); break;
    case FileType::boolean:
      read_as<std::uint8_t>(data, out, [](std::uint8_t v) { return v ? 1.0f : 0.0f; });
      break;
    default: fail<InputError>("elements of type ", name_of(tensor.type), " are not computed with");
  }
  return out;
}

std::vector<std::byte> to_row_major(const std::vector<std::byte>& from,
                                    const std::vector<std::int64_t>& shape, std::size_t size) {
  std::vector<std::byte> to(from.size());
  std::vector<std::int64_t> index(shape.size()), stride(shape.size());
  std::int64_t step = 1;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    stride[d] = step;
    step *= shape[d];
  }
  for (std::size_t at = 0; at < to.size(); at += size) {
    std::int64_t place = 0;
    for (std::size_t d = 0; d < shape.size(); ++d) place += index[d] * stride[d];
    std::memcpy(to.data() + at, from.data() + static_cast<std::size_t>(place) * size, size);
    for (std::size_t d = shape.size(); d-- > 0;) {
      if (++index[d] < shape[d]) break;
      index[d] = 0;
    }
  }
  return to;
}

FileTensor make_file_tensor(std::vector<std::int64_t> shape, std::span<const float> values, FileType type) {
  if (element_count(shape) != static_cast<std::int64_t>(values.size())) {
    fail("make_file_tensor: shape ", shape_text(shape), " does not hold ", values.size(), " values");
  }
  FileTensor result{type, std::move(shape), std::vector<std::byte>(values.size() * size_of(type))};
  switch (type) {
    case FileType::f16: write_as<std::uint16_t>(values, result.data, float_to_half); break;
    case FileType::bf16: write_as<std::uint16_t>(values, result.data, float_to_bfloat16); break;
    case FileType::f32: write_as<float>(values, result.data, [](float v) { return v; }); break;
    case FileType::f64: write_as<double>(values, result.data, [](float v) { return double{v}; }); break;
    default: fail("make_file_tensor: cannot store floats as ", name_of(type));
  }
  return result;
}

float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000u) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1f;
  const std::uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24, which a float holds exactly
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  const std::uint32_t wide = exponent == 31 ? 255 : exponent - 15 + 127;
  return std::bit_cast<float>(sign | wide << 23 | mantissa << 13);
}

std::uint16_t float_to_half(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);  // NaN
  const std::uint32_t exponent = magnitude >> 23;
  // The half is `kept` plus at most one ulp; `rest` of `unit` is what rounding drops. A carry out of the
  // mantissa moves into the exponent by itself, up to infinity.
  std::uint32_t kept, rest, unit;
  if (exponent >= 143) return static_cast<std::uint16_t>(sign | 0x7c00u);  // 2^16 and beyond
  if (exponent >= 113) {
    kept = (magnitude >> 13) - (112u << 10);
    unit = 1u << 13;
    rest = magnitude & (unit - 1);
  } else {  // below 2^-14: a subnormal counts 2^-24s
    const std::uint32_t shift = 126 - exponent;
    if (shift > 24) return sign;  // below 2^-25, half of the smallest
    const std::uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    kept = mantissa >> shift;
    unit = 1u << shift;
    rest = mantissa & (unit - 1);
  }
  if (rest > unit / 2 || (rest == unit / 2 && (kept & 1))) ++kept;
  return static_cast<std::uint16_t>(sign | kept);
}

float bfloat16_to_float(std::uint16_t value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16);
}

std::uint16_t float_to_bfloat16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return static_cast<std::uint16_t>((bits >> 16) | 0x40u);  // NaN stays NaN
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
}

}  // namespace om
