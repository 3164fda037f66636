// A tensor as files hold it: an element type, a shape in the file's own (PyTorch's) order, and its bytes.
//
// It knows no device and no layout; io/state_dict and io/safetensors fill it, and the import turns it into
// parameters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace om {

/// Element types of files. Only f32, f64, bf16 and i32 exist elsewhere; from u16 on they are not even read as
/// numbers, but carried along as bytes. f8_e5m2 and the like: sign, exponent and mantissa bits; the fnuz
/// kinds have one NaN and no negative zero. c64 and c128 are pairs of f32 and of f64.
enum class FileType {
  f16,
  bf16,
  f32,
  f64,
  i8,
  u8,
  i16,
  i32,
  i64,
  boolean,
  u16,
  u32,
  u64,
  f8_e4m3,
  f8_e5m2,
  f8_e4m3fnuz,
  f8_e5m2fnuz,
  f8_e8m0,
  c64,
  c128
};

/// Bytes of one element.
std::size_t size_of(FileType type);
/// "f32", "bf16", "bool", ...
std::string_view name_of(FileType type);
/// f16, bf16, f32 or f64: what weights may be stored in.
bool is_floating(FileType type);
/// True where to_f32 reads the type.
bool is_number(FileType type);

/// Contiguous, row-major, little-endian; data.size() == element_count(shape) * size_of(type). A scalar has
/// shape {}.
struct FileTensor {
  FileType type = FileType::f32;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> data;
};

/// Product of the extents; 1 for a scalar. InputError where one is negative or where the product of the
/// extents that are not zero passes 2^60, whatever the others are.
std::int64_t element_count(std::span<const std::int64_t> shape);

/// "[1, 512, 4, 4]"
std::string shape_text(std::span<const std::int64_t> shape);

/// Every element as float: f64 and integers are rounded, a boolean is 0 or 1. InputError for a type that is
/// no number here.
std::vector<float> to_f32(const FileTensor& tensor);

/// Elements of `size` bytes in column-major order (Fortran's), brought into row-major order.
std::vector<std::byte> to_row_major(const std::vector<std::byte>& from,
                                    const std::vector<std::int64_t>& shape, std::size_t size);

/// `values` in `type` (f32, f16, bf16 or f64), rounded to nearest even; Error where the count does not fit
/// the shape.
FileTensor make_file_tensor(std::vector<std::int64_t> shape, std::span<const float> values,
                            FileType type = FileType::f32);

/// IEEE half precision, exact in both directions for every half incl. subnormals, infinities and NaN
/// (payloads may change); to half rounds to nearest even and overflows to infinity.
float half_to_float(std::uint16_t half);
std::uint16_t float_to_half(float value);

/// The upper half of a float; to it rounds to nearest even.
float bfloat16_to_float(std::uint16_t value);
std::uint16_t float_to_bfloat16(float value);

}  // namespace om
