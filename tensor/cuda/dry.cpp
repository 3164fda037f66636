// The dry form of the cuda backend (tensor/dry.h): kernels that do nothing, but that a convolution takes the
// workspace of the engine that was chosen for it. A convolution that was never timed on this card has no
// engine yet; then what is known is counted, and that not all is. Left out are the sums of reductions and of
// our own kernels, of a few MiB at most.
#include "tensor/dry.h"

#include <algorithm>

#include "tensor/cuda/conv_plans.h"
#include "tensor/cuda/conv_small.h"
#include "tensor/cuda/cuda_backend.h"
#include "tensor/idle.h"

namespace om::cuda {
namespace {

constexpr std::int64_t kTensorCoreChannels = 8;
constexpr std::int64_t kFewChannels = 4;  // conv_narrow.h and conv_colours.h take those, without a workspace

class IdleCuda : public IdleConvActivationBackend {
 public:
  IdleCuda(CudaBackend& like, ConvPlans& plans)
      : IdleConvActivationBackend(like), like_(like), plans_(plans) {}

  bool scratch_is_known() const override { return !unknown_; }

  void conv2d(In x, In w, Out y, const Conv2dParams& params) override {
    take({ConvKind::forward, x.dtype, y.dtype, nullptr, nullptr, nullptr, x.shape, w.shape, y.shape}, params);
  }
  /// As two kernels, since fused ones take no more: cuDNN's engines for them have small workspaces or none.
  void conv2d_activation(In x, In w, const ChannelKernels::Activation&, Out y,
                         const Conv2dParams& params) override {
    IdleCuda::conv2d(x, w, y, params);  // this one: what counts kernels has counted it already
  }
  void conv2d_input_grad(In g, In w, Out x, const Conv2dParams& params) override {
    take({ConvKind::input_grad, g.dtype, x.dtype, nullptr, nullptr, nullptr, x.shape, w.shape, g.shape},
         params);
  }
  void conv2d_weight_grad(In x, In g, Out w, const Conv2dParams& params) override {
    take({ConvKind::weight_grad, g.dtype, w.dtype, nullptr, nullptr, nullptr, x.shape, w.shape, g.shape},
         params);
  }

 private:
  void take(ConvArrays arrays, const Conv2dParams& params) {
    const Shape& w = arrays.w_shape;
    if (arrays.dtype == DType::f64 || std::min(w[0], w[3]) <= kFewChannels) return;
    if (is_small_convolution(like_, arrays, params)) return;  // without a workspace too
    if (arrays.dtype == DType::bf16) {
      pad(arrays.x_shape[3]);
      pad(arrays.y_shape[3]);
      pad(arrays.w_shape[0]);
      pad(arrays.w_shape[3]);
    }
    const std::optional<std::size_t> workspace = plans_.workspace(arrays, params);
    unknown_ = unknown_ || !workspace;
    if (workspace) memory().free(memory().allocate(*workspace));
  }
  static void pad(std::int64_t& channels) {
    channels = (channels + kTensorCoreChannels - 1) / kTensorCoreChannels * kTensorCoreChannels;
  }

  const CudaBackend& like_;
  ConvPlans& plans_;
  bool unknown_ = false;
};

}  // namespace

std::unique_ptr<Backend> CudaBackend::dry_form() {
  return std::make_unique<DryConvActivation<IdleCuda>>(*this, *plans_);
}

}  // namespace om::cuda
