#include "tensor/opencl/device.h"

#include <cstdlib>
#include <vector>

#include "tensor/opencl/programs.h"

namespace om::opencl {
namespace {

std::string platform_text(cl_platform_id platform, cl_platform_info what) {
  std::size_t size = 0;
  check(api().get_platform_info(platform, what, 0, nullptr, &size), "clGetPlatformInfo");
  std::string value(size, '\0');
  check(api().get_platform_info(platform, what, size, value.data(), nullptr), "clGetPlatformInfo");
  return value.c_str();
}

std::string device_text(cl_device_id device, cl_device_info what) {
  std::size_t size = 0;
  check(api().get_device_info(device, what, 0, nullptr, &size), "clGetDeviceInfo");
  std::string value(size, '\0');
  check(api().get_device_info(device, what, size, value.data(), nullptr), "clGetDeviceInfo");
  return value.c_str();
}

/// 0 where the device does not know the question.
template <class T>
T device_number(cl_device_id device, cl_device_info what) {
  T value{};
  if (api().get_device_info(device, what, sizeof value, &value, nullptr) != CL_SUCCESS) return T{};
  return value;
}

struct Candidate {
  cl_platform_id platform;
  cl_device_id device;
  std::string name;  // "platform: device"
};

std::vector<Candidate> all_devices() {
  const Api& cl = api();
  cl_uint count = 0;
  if (cl.get_platforms(0, nullptr, &count) != CL_SUCCESS) count = 0;  // none is an error of its own
  std::vector<cl_platform_id> platforms(count);
  if (count > 0) check(cl.get_platforms(count, platforms.data(), nullptr), "clGetPlatformIDs");
  std::vector<Candidate> found;
  for (cl_platform_id platform : platforms) {
    cl_uint devices = 0;
    if (cl.get_devices(platform, CL_DEVICE_TYPE_ALL, 0, nullptr, &devices) != CL_SUCCESS) continue;
    std::vector<cl_device_id> ids(devices);
    check(cl.get_devices(platform, CL_DEVICE_TYPE_ALL, devices, ids.data(), nullptr), "clGetDeviceIDs");
    for (cl_device_id id : ids)
      found.push_back(
          {platform, id, platform_text(platform, CL_PLATFORM_NAME) + ": " + device_text(id, CL_DEVICE_NAME)});
  }
  return found;
}

Candidate choose() {
  const std::vector<Candidate> found = all_devices();
  if (found.empty())
    fail(
        "opencl: no device (a driver for one is missing; pocl-opencl-icd of Debian and Ubuntu drives "
        "processors)");
  if (const char* wanted = std::getenv("ONEMODEL_OPENCL_DEVICE"); wanted != nullptr && *wanted != '\0') {
    std::string names;
    for (const Candidate& c : found) {
      if (c.name.find(wanted) != std::string::npos) return c;
      names += (names.empty() ? "" : "; ") + c.name;
    }
    fail<UsageError>("opencl: no device's name holds '", wanted,
                     "' (ONEMODEL_OPENCL_DEVICE); there are: ", names);
  }
  for (const Candidate& c : found)
    if ((device_number<cl_device_type>(c.device, CL_DEVICE_TYPE) & CL_DEVICE_TYPE_GPU) != 0) return c;
  return found.front();
}

}  // namespace

Device::Device() : cl_(api()) {
  const Candidate chosen = choose();
  device_ = chosen.device;
  const auto shared = device_number<cl_device_svm_capabilities>(device_, CL_DEVICE_SVM_CAPABILITIES);
  if ((shared & CL_DEVICE_SVM_COARSE_GRAIN_BUFFER) == 0)
    fail("opencl: ", chosen.name, " has no shared virtual memory (OpenCL 2.0), which this backend needs");
  is_processor_ = (device_number<cl_device_type>(device_, CL_DEVICE_TYPE) & CL_DEVICE_TYPE_CPU) != 0;
  units_ = device_number<cl_uint>(device_, CL_DEVICE_MAX_COMPUTE_UNITS);
  total_memory_ = device_number<cl_ulong>(device_, CL_DEVICE_GLOBAL_MEM_SIZE);
  const char* without = std::getenv("ONEMODEL_OPENCL_NO_F64");
  has_f64_ = device_number<cl_device_fp_config>(device_, CL_DEVICE_DOUBLE_FP_CONFIG) != 0 &&
             (without == nullptr || *without == '\0');
  const std::string driver = device_text(device_, CL_DRIVER_VERSION);
  description_ = text(chosen.name, ", ", units_, " compute units, ", total_memory_ >> 20U, " MiB, driver ",
                      driver, has_f64_ ? "" : ", without f64");
  identity_ = chosen.name + '\n' + driver + '\n' + platform_text(chosen.platform, CL_PLATFORM_VERSION) +
              '\n' + device_text(device_, CL_DEVICE_VERSION);
  cl_int status = CL_SUCCESS;
  context_ = cl_.create_context(nullptr, 1, &device_, nullptr, nullptr, &status);
  check(status, "clCreateContext");
  queue_ = cl_.create_queue(context_, device_, nullptr, &status);  // in order unless asked otherwise
  check(status, "clCreateCommandQueueWithProperties");
}

Device::~Device() {
  cl_.finish(queue_);
  for (const auto& [name, kernel] : kernels_) cl_.release_kernel(kernel);
  for (const auto& [name, program] : programs_) cl_.release_program(program);
  cl_.release_queue(queue_);
  cl_.release_context(context_);
}

void* Device::allocate(std::size_t bytes) {
  void* pointer = cl_.allocate(context_, CL_MEM_READ_WRITE, bytes, 128);
  if (pointer == nullptr)
    fail<OutOfMemory>("opencl: clSVMAlloc of ", bytes, " bytes failed; the device has ", total_memory_);
  return pointer;
}

void Device::release(void* pointer) {
  cl_.finish(queue_);  // clSVMFree does not wait for kernels
  cl_.free(context_, pointer);
}

void Device::copy(void* destination, const void* source, std::size_t bytes, bool wait) {
  if (bytes > 0)
    check(
        cl_.enqueue_copy(queue_, wait ? CL_TRUE : CL_FALSE, destination, source, bytes, 0, nullptr, nullptr),
        "clEnqueueSVMMemcpy");
}

void Device::finish() { check(cl_.finish(queue_), "clFinish, an earlier kernel failed"); }

cl_kernel Device::find(const KernelName& name) {
  const std::string program_name = std::string(name.source) + ' ' + name.type;
  const std::string whole = program_name + ' ' + name.kernel;
  if (const auto found = kernels_.find(whole); found != kernels_.end()) return found->second;
  auto program = programs_.find(program_name);
  if (program == programs_.end()) {
    const ProgramTarget target{context_, device_, identity_, has_f64_};
    program = programs_.emplace(program_name, make_program(target, name.source, name.type)).first;
  }
  cl_int status = CL_SUCCESS;
  cl_kernel kernel = cl_.create_kernel(program->second, name.kernel.c_str(), &status);
  if (status != CL_SUCCESS)
    fail("opencl: ", name.source, ".cl for ", name.type, " has no kernel ", name.kernel, " (",
         name_of_status(status), ")");
  return kernels_.emplace(whole, kernel).first->second;
}

void Device::enqueue(cl_kernel kernel, const KernelName& name, const Range& range) {
  std::size_t items[3], group[3];
  for (std::size_t d = 0; d < 3; ++d) {
    group[d] = static_cast<std::size_t>(range.group[d]);
    items[d] = (static_cast<std::size_t>(range.items[d]) + group[d] - 1) / group[d] * group[d];
  }
  check(cl_.enqueue_kernel(queue_, kernel, 3, nullptr, items, group, 0, nullptr, nullptr),
        name.kernel.c_str());
  check(cl_.flush(queue_), "clFlush");
}

}  // namespace om::opencl
