// The cuda backend: one card, one stream. Elementwise kernels, copies and reductions are our own,
// convolutions are cuDNN's (conv_plans.h) with our own direct kernels behind them (conv_direct.h), matrix
// products cuBLAS's (blas.h).
//
// Memory is stream-ordered by the caching allocator: a block freed by the host is reused by kernels that the
// one stream runs later. Convolution plans and the cuBLAS handle are made at first use, which may be inside a
// capture.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <string>

#include "tensor/backend.h"
#include "tensor/communicator.h"
#include "tensor/cuda/capture_order.h"
#include "tensor/device_memory.h"
#include "tensor/dry_form.h"
#include "tensor/fused.h"
#include "tensor/scratch.h"

namespace om::cuda {

class Blas;
class ConvPlans;
class Landings;

class CudaBackend final : public Backend,
                          public ChannelKernels,
                          public ConvActivationKernels,
                          public BatchNormKernels,
                          public DistanceKernels,
                          public AdamKernels,
                          public DeviceMemory,
                          public DryForm,
                          public CommunicatorSource {
 public:
  /// Takes the visible device that the registry names (om::device()), counted round. Error where there is
  /// none.
  CudaBackend();
  ~CudaBackend() override;

  std::string_view name() const override { return "cuda"; }
  std::string description() const override;
  /// bf16 and tf32 need compute capability 8.0.
  bool supports(DType dtype) const override { return dtype != DType::bf16 || capability_ >= 80; }
  bool supports(Math math) const override { return math == Math::strict || capability_ >= 80; }
  bool host_memory() const override { return false; }
  std::size_t total_memory() const override { return total_memory_; }

  void* allocate(std::size_t bytes) override;
  void release(void* pointer) override;
  void copy_from_host(void* destination, const void* source, std::size_t bytes) override;
  void copy_to_host(void* destination, const void* source, std::size_t bytes) override;
  std::unique_ptr<PendingRead> read_later(const void* source, std::size_t bytes) override;
  void copy(void* destination, const void* source, std::size_t bytes) override;
  void synchronize() override;
  void* allocate_pinned(std::size_t bytes) override;
  void release_pinned(void* pointer) override;

  bool records() const override { return true; }
  bool begin_capture() override;
  std::unique_ptr<CapturedGraph> end_capture() override;

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

  void channel_activation(const Activation& inputs, Out y) override;
  void channel_activation_grad(const ActivationGradient& arguments) override;
  void conv2d_activation(In x, In w, const Activation& then, Out y, const Conv2dParams& params) override;
  void batch_norm(const Norm& arguments) override;
  void batch_norm_grad(const NormGradient& arguments) override;
  void feature_distance(const Distance& inputs, Out distance) override;
  void feature_distance_grad(const Distance& inputs, In g, Out a_gradient, Out b_gradient) override;
  void adam_norm(std::span<const In> gradients, Out norm) override;
  void adam(std::span<const AdamArray> arrays, const AdamConstants& constants) override;

  std::unique_ptr<Backend> dry_form() override;
  std::unique_ptr<Communicator> make_communicator(ranks::Member& member) override;
  int devices() const override;

  cudaStream_t stream() const { return stream_; }
  bool capturing() const { return capturing_; }
  /// Of the recording in progress; null where there is none.
  CaptureOrder* order() const { return order_.get(); }
  /// The kernel in progress will write these bytes besides its operands.
  void use_scratch(void* data, std::size_t bytes) {
    if (order_ == nullptr || !order_->in_kernel()) return;
    order_->write(data, bytes);
    order_->wait(false);
  }
  int multiprocessors() const { return multiprocessors_; }
  /// 90 for compute capability 9.0.
  int capability() const { return capability_; }
  /// Bytes that a block may have at most.
  std::size_t most_shared_memory() const { return most_shared_memory_; }
  /// What the card can do at best, roughly: operations and bytes a second. For early stops, not for claims.
  double peak_flops(DType dtype, Math math) const;
  double peak_bandwidth() const { return peak_bandwidth_; }
  /// "plans-NVIDIA-H100-80GB-HBM3-cudnn91900.txt": engines chosen for one card and cuDNN hold for no other.
  std::string plan_file_name() const;

 private:
  /// Error in one line where `action` cannot be part of a recording.
  void refuse_capture(const char* action) const;

  int capability_ = 0;
  int multiprocessors_ = 0;
  std::size_t total_memory_ = 0, most_shared_memory_ = 0;
  double clock_ = 0, peak_bandwidth_ = 0;  // cycles and bytes a second
  std::string card_, description_;
  cudaStream_t stream_ = nullptr;
  std::unique_ptr<ConvPlans> plans_;
  std::unique_ptr<Blas> blas_;  // made by the first matmul
  std::shared_ptr<Landings> landings_;
  bool capturing_ = false;
  std::unique_ptr<CaptureOrder> order_;
  CachingAllocator::Pool capture_pool_ = CachingAllocator::kSharedPool;
};

/// Scratch memory that a recording knows of.
class Scratch : public om::Scratch {
 public:
  Scratch(CudaBackend& backend, std::size_t bytes) : om::Scratch(backend.memory(), bytes) {
    backend.use_scratch(data(), bytes);
  }
};

}  // namespace om::cuda
