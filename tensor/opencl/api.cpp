#include "tensor/opencl/api.h"

#include "tensor/error.h"
#include "tensor/library.h"

namespace om::opencl {
namespace {

Api open() {
  const Library library({.backend = "opencl",
                         .file = "libOpenCL.so.1",
                         .purpose = "the backend needs OpenCL's loader",
                         .packages =
                             "ocl-icd-libopencl1 of Debian and Ubuntu; a device's driver comes beside "
                             "it, pocl-opencl-icd for processors"});
  Api table;
  library.find(table.get_platforms, "clGetPlatformIDs");
  library.find(table.get_platform_info, "clGetPlatformInfo");
  library.find(table.get_devices, "clGetDeviceIDs");
  library.find(table.get_device_info, "clGetDeviceInfo");
  library.find(table.create_context, "clCreateContext");
  library.find(table.release_context, "clReleaseContext");
  library.find(table.create_queue, "clCreateCommandQueueWithProperties");
  library.find(table.release_queue, "clReleaseCommandQueue");
  library.find(table.flush, "clFlush");
  library.find(table.finish, "clFinish");
  library.find(table.create_program_from_source, "clCreateProgramWithSource");
  library.find(table.create_program_from_binary, "clCreateProgramWithBinary");
  library.find(table.build_program, "clBuildProgram");
  library.find(table.get_build_info, "clGetProgramBuildInfo");
  library.find(table.get_program_info, "clGetProgramInfo");
  library.find(table.release_program, "clReleaseProgram");
  library.find(table.create_kernel, "clCreateKernel");
  library.find(table.release_kernel, "clReleaseKernel");
  library.find(table.set_argument, "clSetKernelArg");
  library.find(table.set_pointer, "clSetKernelArgSVMPointer");
  library.find(table.enqueue_kernel, "clEnqueueNDRangeKernel");
  library.find(table.allocate, "clSVMAlloc");
  library.find(table.free, "clSVMFree");
  library.find(table.enqueue_copy, "clEnqueueSVMMemcpy");
  library.find(table.wait_for_events, "clWaitForEvents");
  library.find(table.get_event_info, "clGetEventInfo");
  library.find(table.release_event, "clReleaseEvent");
  return table;
}

}  // namespace

const Api& api() {
  static const Api table = open();
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
