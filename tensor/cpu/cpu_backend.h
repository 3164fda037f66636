// The cpu backend: a team of threads over fixed tiles, our own kernels inside a tile. Tiles depend on shapes
// alone, never on the number of threads, so results repeat to the bit.
#pragma once

#include <memory>

#include "tensor/backend.h"
#include "tensor/dry_form.h"
#include "tensor/fused.h"

namespace om {

class CpuBackend : public Backend,
                   public ChannelKernels,
                   public BatchNormKernels,
                   public DistanceKernels,
                   public AdamKernels,
                   public DryForm {
 public:
  std::string_view name() const override { return "cpu"; }
  std::string description() const override;
  bool supports(DType) const override { return true; }
  bool supports(Math math) const override { return math == Math::strict; }
  bool host_memory() const override { return true; }

  void* allocate(std::size_t bytes) override;
  void release(void* pointer) override;
  void copy_from_host(void* destination, const void* source, std::size_t bytes) override;
  void copy_to_host(void* destination, const void* source, std::size_t bytes) override;
  void copy(void* destination, const void* source, std::size_t bytes) override;
  void synchronize() override {}

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
  void batch_norm(const Norm& arguments) override;
  void batch_norm_grad(const NormGradient& arguments) override;
  void feature_distance(const Distance& inputs, Out distance) override;
  void feature_distance_grad(const Distance& inputs, In g, Out a_gradient, Out b_gradient) override;
  void adam_norm(std::span<const In> gradients, Out norm) override;
  void adam(std::span<const AdamArray> arrays, const AdamConstants& constants) override;

  std::unique_ptr<Backend> dry_form() override;
};

/// Starts the team of threads() threads; where the system does not give as many, set_threads() is called with
/// fewer. Throws Error where the processor is too old for this build.
std::unique_ptr<Backend> make_cpu_backend();

}  // namespace om
