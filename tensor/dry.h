// Dry backends: a backend that allocates as another one would and counts the work of its kernels, but holds
// no memory and computes nothing. What a network or a training step takes is so known before it runs, in
// milliseconds, whatever its size: it runs on the dry backend, through the same code.
//
// Memory comes from the allocator's own code over addresses that no page stands behind, so that rounding,
// reuse and private pools are the real ones. Arrays may be read and hold no meaningful numbers; what is read
// back to the host is zeros.
//
// A backend whose kernels take scratch memory has a dry form of its own (DryForm): tensor/cpu's are its
// kernels themselves with a team that rests. Others get kernels that do nothing.
#pragma once

#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "tensor/backend.h"
#include "tensor/dry_form.h"
#include "tensor/fused.h"

namespace om {

/// What kernels do.
struct Work {
  double flops = 0;  ///< of convolutions and matrix products: two for each multiplication with its addition
  double bytes = 0;  ///< of the arrays that each kernel reads and writes, counted once for each kernel
  std::int64_t kernels = 0;

  Work operator-(const Work& other) const {
    return {flops - other.flops, bytes - other.bytes, kernels - other.kernels};
  }
};

/// What a dry backend says, as its extension.
class WorkMeter {
 public:
  virtual ~WorkMeter() = default;
  /// Of all kernels so far.
  const Work& work() const { return work_; }
  /// Whether memory().statistics() include what the real kernels take while they run.
  virtual bool knows_scratch() const = 0;
  /// What the kernel took that ran when memory().statistics().peak_bytes was reached; 0 where that was no
  /// kernel's doing.
  virtual std::size_t scratch_at_peak() = 0;

 protected:
  Work work_;
};

/// A dry backend like this one, with the fused kernels that it has.
std::unique_ptr<Backend> dry_backend(Backend& like);

/// Address space without memory: pages read as zeros, and only those that are written become real.
class AddressSpace {
 public:
  AddressSpace() = default;
  ~AddressSpace();
  AddressSpace(const AddressSpace&) = delete;
  AddressSpace& operator=(const AddressSpace&) = delete;

  /// OutOfMemory where the system gives no more addresses.
  void* take(std::size_t bytes);
  void give_back(void* pointer);

 private:
  std::map<void*, std::size_t> taken_;
};

/// The backend Base, counting. Base has `Rest`, which lives while one of its kernels runs.
template <class Base>
class Dry : public Base, public WorkMeter {
 public:
  using Base::Base;
  ~Dry() override { this->memory().close(); }

  bool knows_scratch() const override { return Base::scratch_is_known(); }
  std::size_t scratch_at_peak() override {
    return this->memory().statistics().peak_bytes == peak_in_kernel_ ? scratch_ : 0;
  }

  void* allocate(std::size_t bytes) override { return space_.take(bytes); }
  void release(void* pointer) override { space_.give_back(pointer); }
  void copy_from_host(void*, const void*, std::size_t) override {}
  void copy_to_host(void* destination, const void*, std::size_t bytes) override {
    if (bytes > 0) std::memset(destination, 0, bytes);
  }
  void copy(void*, const void*, std::size_t bytes) override {
    work_.bytes += 2.0 * static_cast<double>(bytes);
    ++work_.kernels;
  }
  void synchronize() override {}

  void fill(Out y, double value) override {
    count(0, {y}, [&] { Base::fill(y, value); });
  }
  void strided_copy(In x, std::int64_t x_offset, const Strides& x_strides, Out y, std::int64_t y_offset,
                    const Strides& y_strides, const Shape& extent) override {
    const In part{y.data, y.dtype, extent};  // read, and written
    count(0, {part, part},
          [&] { Base::strided_copy(x, x_offset, x_strides, y, y_offset, y_strides, extent); });
  }
  void cast(In x, Out y) override {
    count(0, {x, y}, [&] { Base::cast(x, y); });
  }
  void random(Out y, Distribution distribution, In state) override {
    count(0, {y}, [&] { Base::random(y, distribution, state); });
  }
  void unary(UnaryOp op, In x, Out y, double a, double b) override {
    count(0, {x, y}, [&] { Base::unary(op, x, y, a, b); });
  }
  void binary(BinaryOp op, In a, In b, Out y, double parameter) override {
    count(0, {a, b, y}, [&] { Base::binary(op, a, b, y, parameter); });
  }
  void where(In condition, In a, In b, Out y) override {
    count(0, {condition, a, b, y}, [&] { Base::where(condition, a, b, y); });
  }
  void reduce(ReduceOp op, In x, Out y) override {
    count(0, {x, y}, [&] { Base::reduce(op, x, y); });
  }
  void matmul(In a, In b, Out y, const MatmulParams& params) override {
    count(products(y.shape, a.shape[params.transpose_a ? 1 : 2]), {a, b, y},
          [&] { Base::matmul(a, b, y, params); });
  }
  void conv2d(In x, In w, Out y, const Conv2dParams& params) override {
    count(convolution(y.shape, w.shape), {x, w, y}, [&] { Base::conv2d(x, w, y, params); });
  }
  void conv2d_input_grad(In g, In w, Out x, const Conv2dParams& params) override {
    count(convolution(g.shape, w.shape), {g, w, x}, [&] { Base::conv2d_input_grad(g, w, x, params); });
  }
  void conv2d_weight_grad(In x, In g, Out w, const Conv2dParams& params) override {
    count(convolution(g.shape, w.shape), {x, g, w}, [&] { Base::conv2d_weight_grad(x, g, w, params); });
  }
  void max_pool2d(In x, Out y, Out index, const Pool2dParams& params) override {
    count(0, {x, y, index}, [&] { Base::max_pool2d(x, y, index, params); });
  }
  void upfirdn2d(In x, In filter, Out y, const UpFirDnParams& params) override {
    count(0, {x, filter, y}, [&] { Base::upfirdn2d(x, filter, y, params); });
  }
  void gather(In x, In index, Out y) override {
    count(0, {index, y, y}, [&] { Base::gather(x, index, y); });
  }
  void scatter_add(In x, In index, Out y) override {
    count(0, {x, index, y}, [&] { Base::scatter_add(x, index, y); });
  }

 protected:
  /// Runs a kernel of Base and counts it; what of `arrays` is absent counts nothing.
  template <class Arrays, class Kernel>
  void count_all(double flops, const Arrays& arrays, const Kernel& kernel) {
    work_.flops += flops;
    ++work_.kernels;
    for (const In& array : arrays)
      if (array.data != nullptr)
        work_.bytes +=
            static_cast<double>(array.shape.elements()) * static_cast<double>(size_of(array.dtype));
    const MemoryStatistics before = this->memory().statistics();
    {
      [[maybe_unused]] const typename Base::Rest rest;
      kernel();
    }
    const std::size_t peak = this->memory().statistics().peak_bytes;
    if (peak == before.peak_bytes) return;
    peak_in_kernel_ = peak;
    scratch_ = peak - before.live_bytes;
  }
  template <class Kernel>
  void count(double flops, std::initializer_list<In> arrays, const Kernel& kernel) {
    count_all(flops, arrays, kernel);
  }

  static double products(const Shape& result, std::int64_t inner) {
    return 2.0 * static_cast<double>(result.elements()) * static_cast<double>(inner);
  }
  /// Of each of the three kinds: with y the result of the convolution and w its weight.
  static double convolution(const Shape& y, const Shape& w) { return products(y, w[1] * w[2] * w[3]); }

 private:
  AddressSpace space_;
  std::size_t scratch_ = 0, peak_in_kernel_ = 0;
};

/// The same with fused kernels of tensor/fused.h, which Base has too.
template <class Base>
class DryFused : public Dry<Base> {
 public:
  using Dry<Base>::Dry;

  void channel_activation(const ChannelKernels::Activation& in, Out y) override {
    this->count(0, {in.x, in.scale, in.bias, in.noise, in.residual, in.factor, y},
                [&] { Base::channel_activation(in, y); });
  }
  void channel_activation_grad(const ChannelKernels::ActivationGradient& a) override {
    this->count(0, {a.g, a.y, a.inputs.x, a.inputs.noise, a.inputs.residual, a.x_gradient, a.h, a.map},
                [&] { Base::channel_activation_grad(a); });
  }
  void batch_norm(const BatchNormKernels::Norm& in) override {  // x for its statistics, and for y
    this->count(0, {in.x, in.x, in.residual, in.y}, [&] { Base::batch_norm(in); });
  }
  void batch_norm_grad(const BatchNormKernels::NormGradient& a) override {  // the same for its two sums
    this->count(0, {a.g, a.y, a.x, a.g, a.y, a.x, a.x_gradient, a.h}, [&] { Base::batch_norm_grad(a); });
  }
  void feature_distance(const DistanceKernels::Distance& in, Out distance) override {
    this->count(0, {in.a, in.b, distance}, [&] { Base::feature_distance(in, distance); });
  }
  void feature_distance_grad(const DistanceKernels::Distance& in, In g, Out a_gradient,
                             Out b_gradient) override {
    this->count(0, {in.a, in.b, g, a_gradient, b_gradient},
                [&] { Base::feature_distance_grad(in, g, a_gradient, b_gradient); });
  }
  void adam_norm(std::span<const In> gradients, Out norm) override {
    this->count_all(0, gradients, [&] { Base::adam_norm(gradients, norm); });
  }
  void adam(std::span<const AdamKernels::AdamArray> arrays,
            const AdamKernels::AdamConstants& constants) override {
    std::vector<In> all;
    for (const AdamKernels::AdamArray& a : arrays)
      for (const In& array : {a.gradient, In(a.parameter), In(a.first), In(a.second)})
        all.insert(all.end(), array.data == a.gradient.data ? 1 : 2, array);  // the others are written too
    this->count_all(0, all, [&] { Base::adam(arrays, constants); });
  }
};

/// The same with a convolution and its activation in one.
template <class Base>
class DryConvActivation : public DryFused<Base> {
 public:
  using DryFused<Base>::DryFused;

  void conv2d_activation(In x, In w, const ChannelKernels::Activation& then, Out y,
                         const Conv2dParams& params) override {
    this->count(this->convolution(y.shape, w.shape), {x, w, then.noise, then.residual, y},
                [&] { Base::conv2d_activation(x, w, then, y, params); });
  }
};

}  // namespace om
