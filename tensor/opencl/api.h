// The functions of OpenCL that the backend calls, from a library that is opened when the first of them is
// wanted (tensor/library.h). Everything is of OpenCL 1.2 but shared virtual memory, which is 2.0's.
#pragma once

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

namespace om::opencl {

struct Api {
  decltype(&clGetPlatformIDs) get_platforms = nullptr;
  decltype(&clGetPlatformInfo) get_platform_info = nullptr;
  decltype(&clGetDeviceIDs) get_devices = nullptr;
  decltype(&clGetDeviceInfo) get_device_info = nullptr;
  decltype(&clCreateContext) create_context = nullptr;
  decltype(&clReleaseContext) release_context = nullptr;
  decltype(&clCreateCommandQueueWithProperties) create_queue = nullptr;
  decltype(&clReleaseCommandQueue) release_queue = nullptr;
  decltype(&clFlush) flush = nullptr;
  decltype(&clFinish) finish = nullptr;
  decltype(&clCreateProgramWithSource) create_program_from_source = nullptr;
  decltype(&clCreateProgramWithBinary) create_program_from_binary = nullptr;
  decltype(&clBuildProgram) build_program = nullptr;
  decltype(&clGetProgramBuildInfo) get_build_info = nullptr;
  decltype(&clGetProgramInfo) get_program_info = nullptr;
  decltype(&clReleaseProgram) release_program = nullptr;
  decltype(&clCreateKernel) create_kernel = nullptr;
  decltype(&clReleaseKernel) release_kernel = nullptr;
  decltype(&clSetKernelArg) set_argument = nullptr;
  decltype(&clSetKernelArgSVMPointer) set_pointer = nullptr;
  decltype(&clEnqueueNDRangeKernel) enqueue_kernel = nullptr;
  decltype(&clSVMAlloc) allocate = nullptr;
  decltype(&clSVMFree) free = nullptr;
  decltype(&clEnqueueSVMMemcpy) enqueue_copy = nullptr;
  decltype(&clWaitForEvents) wait_for_events = nullptr;
  decltype(&clGetEventInfo) get_event_info = nullptr;
  decltype(&clReleaseEvent) release_event = nullptr;
};

/// The table; Error in one line where the library is missing or older than 2.0.
const Api& api();

/// Error naming the call and OpenCL's own word for the status, unless it is CL_SUCCESS.
void check(cl_int status, const char* call);
/// "CL_OUT_OF_RESOURCES", or the number where it is none of the usual.
const char* name_of_status(cl_int status);

}  // namespace om::opencl
