// Memory, and the small answers.
#include "tensor/opencl/opencl_backend.h"

#include "tensor/dry.h"

namespace om {

std::unique_ptr<Backend> make_opencl_backend() {
  return std::make_unique<opencl::OpenClBackend>(std::make_shared<opencl::Device>());
}

namespace opencl {
namespace {

class RestingOpenCl : public OpenClBackend {
 public:
  using OpenClBackend::OpenClBackend;
  using Rest = DeviceAtRest;
  static bool scratch_is_known() { return true; }
};

}  // namespace

OpenClBackend::~OpenClBackend() { memory().close(); }

std::unique_ptr<Backend> OpenClBackend::dry_form() { return std::make_unique<Dry<RestingOpenCl>>(shared_); }

void OpenClBackend::copy_from_host(void* destination, const void* source, std::size_t bytes) {
  device_.copy(destination, source, bytes, true);
}

void OpenClBackend::copy_to_host(void* destination, const void* source, std::size_t bytes) {
  device_.copy(destination, source, bytes, true);
  if (bytes == 0) synchronize();
}

void OpenClBackend::copy(void* destination, const void* source, std::size_t bytes) {
  device_.copy(destination, source, bytes, false);
}

ResultKind kind_of(DType dtype) {
  return dtype == DType::f64 ? ResultKind::f64 : dtype == DType::bf16 ? ResultKind::bf16 : ResultKind::f32;
}

const char* size_name(DType dtype) {
  switch (size_of(dtype)) {
    case 1: return "1";
    case 2: return "2";
    case 4: return "4";
    default: return "8";
  }
}

}  // namespace opencl
}  // namespace om
