#include "tensor/opencl/api.h"

#include "tensor/error.h"

namespace om::opencl {

Api::Api()
    : Library({.backend = "opencl",
               .file = "libOpenCL.so.1",
               .purpose = "the backend needs OpenCL's loader",
               .packages = "ocl-icd-libopencl1 of Debian and Ubuntu; a device's driver comes beside it, "
                           "pocl-opencl-icd for processors"}) {}

const Api& api() {
  static const Api table;
  return table;
}

const char* name_of_status(cl_int status) {
  switch (status) {
    case CL_DEVICE_NOT_FOUND: return "CL_DEVICE_NOT_FOUND";
    case CL_DEVICE_NOT_AVAILABLE: return "CL_DEVICE_NOT_AVAILABLE";
    case CL_COMPILER_NOT_AVAILABLE: return "CL_COMPILER_NOT_AVAILABLE";
    case CL_MEM_OBJECT_ALLOCATION_FAILURE: return "CL_MEM_OBJECT_ALLOCATION_FAILURE";
    case CL_OUT_OF_RESOURCES: return "CL_OUT_OF_RESOURCES";
    case CL_OUT_OF_HOST_MEMORY: return "CL_OUT_OF_HOST_MEMORY";
    case CL_BUILD_PROGRAM_FAILURE: return "CL_BUILD_PROGRAM_FAILURE";
    case CL_INVALID_VALUE: return "CL_INVALID_VALUE";
    case CL_INVALID_BINARY: return "CL_INVALID_BINARY";
    case CL_INVALID_KERNEL_NAME: return "CL_INVALID_KERNEL_NAME";
    case CL_INVALID_ARG_INDEX: return "CL_INVALID_ARG_INDEX";
    case CL_INVALID_ARG_VALUE: return "CL_INVALID_ARG_VALUE";
    case CL_INVALID_ARG_SIZE: return "CL_INVALID_ARG_SIZE";
    case CL_INVALID_KERNEL_ARGS: return "CL_INVALID_KERNEL_ARGS";
    case CL_INVALID_WORK_GROUP_SIZE: return "CL_INVALID_WORK_GROUP_SIZE";
    case CL_INVALID_OPERATION: return "CL_INVALID_OPERATION";
    case -1001: return "CL_PLATFORM_NOT_FOUND_KHR";
    default: return "another";
  }
}

void check(cl_int status, const char* call) {
  if (status == CL_SUCCESS) return;
  const auto words = [&] {
    return text("opencl: ", call, ": status ", status, ", ", name_of_status(status));
  };
  if (status == CL_OUT_OF_RESOURCES || status == CL_OUT_OF_HOST_MEMORY ||
      status == CL_MEM_OBJECT_ALLOCATION_FAILURE)
    throw OutOfMemory(words());
  throw Error(words());
}

}  // namespace om::opencl
