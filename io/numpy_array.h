// NumPy's arrays and scalars in pickles, read without NumPy.
//
//   array:  numpy.core.multiarray._reconstruct(ndarray, (0,), b"b"), then the state (version, shape, dtype,
//           Fortran order, bytes); from protocol 5 on numpy.core.numeric._frombuffer(bytes, dtype, shape, "C"
//           or "F")
//   scalar: numpy.core.multiarray.scalar(dtype, bytes)
//   dtype:  numpy.dtype("f4", ..), then the state (version, "<", ..)
//
// numpy.core is numpy._core from NumPy 2 on. Source: what numpy's __reduce__ methods write
// (numpy/core/src/multiarray).
#pragma once

#include <optional>
#include <string>

#include "io/file_tensor.h"
#include "io/pickle.h"

namespace om {

/// An array or a scalar (shape {}) that lies in a pickle, which must outlive it.
struct NumpyArray {
  FileType type = FileType::f32;
  std::vector<std::int64_t> shape;
  bool fortran_order = false;
  const PickleValue* bytes = nullptr;

  /// Row-major. InputError where the bytes are not those of the shape.
  FileTensor load() const;
};

/// True where the value is an array or a scalar of NumPy, of whatever type.
bool is_numpy(const PickleValue& value);

/// Nothing, with the reason in `why_not`, where its elements are no plain little-endian numbers, or it is
/// ill-formed.
std::optional<NumpyArray> numpy_array(const PickleValue& value, std::string& why_not);

/// A number of Python's or a scalar of NumPy's; booleans are 0 and 1. Nothing for anything else.
std::optional<double> number_of(const PickleValue& value);

}  // namespace om
