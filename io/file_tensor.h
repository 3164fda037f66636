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

/// Element types of files. f16 and i64 exist in files only.
enum class FileType { f16, bf16, f32, f64, i8, u8, i16, i32, i64, boolean };

/// Bytes of one element.
std::size_t size_of(FileType type);
/// "f32", "bf16", "bool", ...
std::string_view name_of(FileType type);

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

/// Every element as float: f64 and integers are rounded, a boolean is 0 or 1.
std::vector<float> to_f32(const FileTensor& tensor);

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
