// Idle backends, of which tensor/dry.h makes dry ones: what another backend is like, and kernels that do
// nothing. They record as a device does, so that a recording's own memory is told too.
#pragma once

#include "tensor/backend.h"
#include "tensor/fused.h"

namespace om {

class DryGraph final : public CapturedGraph {
 public:
  DryGraph(CachingAllocator& memory, CachingAllocator::Pool pool) : memory_(memory), pool_(pool) {}
  ~DryGraph() override { memory_.drop_pool(pool_); }
  void replay() override {}

 private:
  CachingAllocator& memory_;
  CachingAllocator::Pool pool_;
};

/// What another backend is like, and kernels that do nothing. Captures as a device does.
class IdleBackend : public Backend {
 public:
  struct Rest {};

  explicit IdleBackend(Backend& like) : like_(like) {}

  /// Whether kernels take the memory that the real ones take.
  virtual bool scratch_is_known() const { return like_.name() == "reference"; }  // which takes none

  std::string_view name() const override { return like_.name(); }
  std::string description() const override { return like_.description(); }
  bool supports(DType dtype) const override { return like_.supports(dtype); }
  bool supports(Math math) const override { return like_.supports(math); }
  bool host_memory() const override { return like_.host_memory(); }

  bool records() const override { return like_.records(); }
  bool begin_capture() override {
    if (!records()) return false;
    pool_ = memory().begin_pool();
    return true;
  }
  std::unique_ptr<CapturedGraph> end_capture() override {
    memory().end_pool();
    return std::make_unique<DryGraph>(memory(), pool_);
  }

  void fill(Out, double) override {}
  void strided_copy(In, std::int64_t, const Strides&, Out, std::int64_t, const Strides&,
                    const Shape&) override {}
  void cast(In, Out) override {}
  void random(Out, Distribution, In) override {}
  void unary(UnaryOp, In, Out, double, double) override {}
  void binary(BinaryOp, In, In, Out, double) override {}
  void where(In, In, In, Out) override {}
  void reduce(ReduceOp, In, Out) override {}
  void matmul(In, In, Out, const MatmulParams&) override {}
  void conv2d(In, In, Out, const Conv2dParams&) override {}
  void conv2d_input_grad(In, In, Out, const Conv2dParams&) override {}
  void conv2d_weight_grad(In, In, Out, const Conv2dParams&) override {}
  void max_pool2d(In, Out, Out, const Pool2dParams&) override {}
  void upfirdn2d(In, In, Out, const UpFirDnParams&) override {}
  void gather(In, In, Out) override {}
  void scatter_add(In, In, Out) override {}

 private:
  Backend& like_;
  CachingAllocator::Pool pool_ = CachingAllocator::kSharedPool;
};

class IdleFusedBackend : public IdleBackend,
                         public ChannelKernels,
                         public BatchNormKernels,
                         public DistanceKernels,
                         public AdamKernels {
 public:
  using IdleBackend::IdleBackend;

  void channel_activation(const Activation&, Out) override {}
  void channel_activation_grad(const ActivationGradient&) override {}
  void batch_norm(const Norm&) override {}
  void batch_norm_grad(const NormGradient&) override {}
  void feature_distance(const Distance&, Out) override {}
  void feature_distance_grad(const Distance&, In, Out, Out) override {}
  void adam_norm(std::span<const In>, Out) override {}
  void adam(std::span<const AdamArray>, const AdamConstants&) override {}
};

class IdleConvActivationBackend : public IdleFusedBackend, public ConvActivationKernels {
 public:
  using IdleFusedBackend::IdleFusedBackend;

  void conv2d_activation(In, In, const ChannelKernels::Activation&, Out, const Conv2dParams&) override {}
};

}  // namespace om
