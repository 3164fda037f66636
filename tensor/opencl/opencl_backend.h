// The opencl backend: any device with OpenCL 2.0's coarse-grained shared virtual memory, its kernels written
// in OpenCL C 1.2 (kernels/*.cl) and compiled when the program runs. docs/porting.md tells how it came to be
// and why it is as it is.
//
// The pointers of the contract are shared virtual memory's: a kernel takes any address within an allocation.
// One in-order queue; kernels of one call may take scratch memory from the caching allocator and give it back
// before they ran, since the queue orders its reuse.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "tensor/backend.h"
#include "tensor/device_memory.h"
#include "tensor/dry_form.h"
#include "tensor/opencl/device.h"
#include "tensor/scratch.h"

namespace om::opencl {

/// How a kernel's result is stored; the numbers of kernels/common.cl.
enum class ResultKind : int { f32 = 0, f64 = 1, bf16 = 2 };
ResultKind kind_of(DType dtype);

class OpenClBackend : public Backend, public DeviceMemory, public DryForm {
 public:
  explicit OpenClBackend(std::shared_ptr<Device> device) : shared_(std::move(device)), device_(*shared_) {}
  ~OpenClBackend() override;

  std::string_view name() const override { return "opencl"; }
  std::string description() const override { return device_.description(); }
  bool supports(DType dtype) const override { return dtype != DType::f64 || device_.has_f64(); }
  bool supports(Math math) const override { return math == Math::strict; }
  bool host_memory() const override { return false; }
  std::size_t total_memory() const override { return device_.total_memory(); }

  void* allocate(std::size_t bytes) override { return device_.allocate(bytes); }
  void release(void* pointer) override { device_.release(pointer); }
  void copy_from_host(void* destination, const void* source, std::size_t bytes) override;
  void copy_to_host(void* destination, const void* source, std::size_t bytes) override;
  void copy(void* destination, const void* source, std::size_t bytes) override;
  void synchronize() override { device_.finish(); }

  void fill(Out y, double value) override;
  void strided_copy(In x, std::int64_t x_offset, const Strides& x_strides, Out y, std::int64_t y_offset,
                    const Strides& y_strides, const Shape& extent) override;
  void cast(In x, Out y) override;
  void random(Out y, Distribution distribution, In state) override;
  void unary(UnaryOp op, In x, Out y, double a, double b) override;
  void binary(BinaryOp op, In a, In b, Out y, double parameter) override;
  void where(In condition, In a, In b, Out y) override;
  void reduce(ReduceOp op, In x, Out y) override;
  void matmul(In a, In b, Out y, const MatmulParams& params) override;
  void conv2d(In x, In w, Out y, const Conv2dParams& params) override;
  void conv2d_input_grad(In g, In w, Out x, const Conv2dParams& params) override;
  void conv2d_weight_grad(In x, In g, Out w, const Conv2dParams& params) override;
  void max_pool2d(In x, Out y, Out index, const Pool2dParams& params) override;
  void upfirdn2d(In x, In filter, Out y, const UpFirDnParams& params) override;
  void gather(In x, In index, Out y) override;
  void scatter_add(In x, In index, Out y) override;

  std::unique_ptr<Backend> dry_form() override;

  Device& device() { return device_; }

 private:
  std::shared_ptr<Device> shared_;
  Device& device_;
};

class Scratch : public om::Scratch {
 public:
  Scratch(OpenClBackend& backend, std::int64_t bytes)
      : om::Scratch(backend.memory(), static_cast<std::size_t>(bytes)) {}
};

/// The type that a source is compiled for: "f32", or for sources that only move "4".
inline const char* type_name(DType dtype) { return name_of(dtype).data(); }
const char* size_name(DType dtype);

/// Calls body with `value` as the type in which kernels of that dtype take scalars: float, double, int.
template <class Body>
void with_scalar(DType dtype, double value, Body&& body) {
  if (dtype == DType::f64)
    body(value);
  else if (is_floating(dtype))
    body(static_cast<float>(value));
  else
    body(static_cast<std::int32_t>(value));
}

}  // namespace om::opencl
