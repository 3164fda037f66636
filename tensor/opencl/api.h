// The functions of OpenCL that the backend calls, from a library that is opened when the first of them is
// wanted (tensor/library.h). Everything is of OpenCL 1.2 but shared virtual memory, which is 2.0's.
#pragma once

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

#include "tensor/library.h"

namespace om::opencl {

struct Api : Library {
  Api();
  decltype(&clGetPlatformIDs) get_platforms = find("clGetPlatformIDs");
  decltype(&clGetPlatformInfo) get_platform_info = find("clGetPlatformInfo");
  decltype(&clGetDeviceIDs) get_devices = find("clGetDeviceIDs");
  decltype(&clGetDeviceInfo) get_device_info = find("clGetDeviceInfo");
  decltype(&clCreateContext) create_context = find("clCreateContext");
  decltype(&clReleaseContext) release_context = find("clReleaseContext");
  decltype(&clCreateCommandQueueWithProperties) create_queue = find("clCreateCommandQueueWithProperties");
  decltype(&clReleaseCommandQueue) release_queue = find("clReleaseCommandQueue");
  decltype(&clFlush) flush = find("clFlush");
  decltype(&clFinish) finish = find("clFinish");
  decltype(&clCreateProgramWithSource) create_program_from_source = find("clCreateProgramWithSource");
  decltype(&clCreateProgramWithBinary) create_program_from_binary = find("clCreateProgramWithBinary");
  decltype(&clBuildProgram) build_program = find("clBuildProgram");
  decltype(&clGetProgramBuildInfo) get_build_info = find("clGetProgramBuildInfo");
  decltype(&clGetProgramInfo) get_program_info = find("clGetProgramInfo");
  decltype(&clReleaseProgram) release_program = find("clReleaseProgram");
  decltype(&clCreateKernel) create_kernel = find("clCreateKernel");
  decltype(&clReleaseKernel) release_kernel = find("clReleaseKernel");
  decltype(&clSetKernelArg) set_argument = find("clSetKernelArg");
  decltype(&clSetKernelArgSVMPointer) set_pointer = find("clSetKernelArgSVMPointer");
  decltype(&clEnqueueNDRangeKernel) enqueue_kernel = find("clEnqueueNDRangeKernel");
  decltype(&clSVMAlloc) allocate = find("clSVMAlloc");
  decltype(&clSVMFree) free = find("clSVMFree");
  decltype(&clEnqueueSVMMemcpy) enqueue_copy = find("clEnqueueSVMMemcpy");
  decltype(&clWaitForEvents) wait_for_events = find("clWaitForEvents");
  decltype(&clGetEventInfo) get_event_info = find("clGetEventInfo");
  decltype(&clReleaseEvent) release_event = find("clReleaseEvent");
};

/// The table; Error in one line where the library is missing or older than 2.0.
const Api& api();

/// Error naming the call and OpenCL's own word for the status, unless it is CL_SUCCESS.
void check(cl_int status, const char* call);
/// "CL_OUT_OF_RESOURCES", or the number where it is none of the usual.
const char* name_of_status(cl_int status);

}  // namespace om::opencl
