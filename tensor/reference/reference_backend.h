// The reference backend: the contracts of tensor/backend.h as naive loops, on one thread. It is the
// specification that every other backend is checked against, so each kernel is the shortest text that is
// obviously right. Every kernel computes and accumulates in double and rounds each result once, whatever the
// dtype.
#pragma once

#include <array>
#include <limits>
#include <type_traits>

#include "tensor/backend.h"

namespace om {

class ReferenceBackend : public Backend {
 public:
  std::string_view name() const override { return "reference"; }
  std::string description() const override { return "reference: naive loops in double, 1 thread"; }
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
};

std::unique_ptr<Backend> make_reference_backend();

namespace reference {

using Index = std::array<std::int64_t, kMaxRank>;

/// Calls body(index) for every index of a shape, in row-major order.
template <class Body>
void for_each_index(const Shape& extent, Body&& body) {
  if (extent.elements() == 0) return;
  Index index{};
  while (true) {
    body(index);
    int d = extent.rank() - 1;
    while (d >= 0 && ++index[d] == extent[d]) index[d--] = 0;
    if (d < 0) return;
  }
}

/// index . strides
inline std::int64_t dot(const Index& index, const Strides& strides) {
  std::int64_t sum = 0;
  for (int d = 0; d < kMaxRank; ++d) sum += index[d] * strides[d];
  return sum;
}

/// Strides that walk `shape` along with a larger one of the same rank: 0 in dimensions of size 1.
inline Strides broadcast_strides(const Shape& shape) {
  Strides strides = shape.strides();
  for (int d = 0; d < shape.rank(); ++d)
    if (shape[d] == 1) strides[d] = 0;
  return strides;
}

/// value as a T: floating types round to nearest, integers truncate toward zero and saturate, NaN gives 0.
template <class T>
T convert(double value) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return BFloat16(static_cast<float>(value));
  } else if constexpr (std::is_integral_v<T>) {
    constexpr double low = std::numeric_limits<T>::min(), high = std::numeric_limits<T>::max();
    if (value != value) return 0;
    return static_cast<T>(value < low ? low : value > high ? high : value);
  } else {
    return static_cast<T>(value);
  }
}

}  // namespace reference
}  // namespace om
