// The OpenCL sources, which the build puts into the library, and their compiled programs: compiled once for a
// device and a driver, kept as files in the user's cache. A file that is torn, or that the driver refuses, is
// only a program to be compiled again.
#pragma once

#include <string>

#include "tensor/opencl/api.h"

namespace om::opencl {

/// The text of tensor/opencl/kernels/NAME.cl; Error where there is none.
const char* source_named(const std::string& name);

struct ProgramTarget {
  cl_context context;
  cl_device_id device;
  std::string identity;  ///< platform, device and driver with their versions
  bool f64;              ///< whether sources may use double
};

/// kernels/common.cl and kernels/NAME.cl compiled for elements of `type` (T_f32, ..). Error with the
/// compiler's first lines where that fails.
cl_program make_program(const ProgramTarget& target, const std::string& name, const std::string& type);

}  // namespace om::opencl
