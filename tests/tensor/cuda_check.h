// What the tests of the cuda backend share: one kernel call there and on the reference backend in double,
// with guard bytes around every array, results that start out as NaN, and a second run for equal bits. Where
// there is no device every test is skipped, visibly.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>

#include "tensor/registry.h"
#include "tensor/tensor.h"
#include "tests/harness/comparison.h"

namespace om::cuda_check {

inline constexpr DType kFloating[] = {DType::f32, DType::f64, DType::bf16};
inline constexpr DType kAll[] = {DType::f32, DType::f64, DType::bf16, DType::i32, DType::u8};

using Values = std::vector<double>;
using harness::relative_error;

/// Of a floating dtype, relative to the largest element.
struct Tolerances {
  double f32 = 1e-6, f64 = 1e-14, bf16 = 4e-3;
  double of(DType dtype) const {
    return dtype == DType::f32 ? f32 : dtype == DType::f64 ? f64 : dtype == DType::bf16 ? bf16 : 0;
  }
};

inline Values normals(const Shape& shape, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal;
  Values values(static_cast<std::size_t>(shape.elements()));
  // Exact in every floating dtype, so that all compute the same function.
  for (double& value : values) value = BFloat16(static_cast<float>(normal(engine)));
  return values;
}

inline Values integers(const Shape& shape, unsigned seed, int low, int high) {
  std::mt19937 engine(seed);
  std::uniform_int_distribution<int> uniform(low, high);
  Values values(static_cast<std::size_t>(shape.elements()));
  for (double& value : values) value = uniform(engine);
  return values;
}

inline Tensor upload(const Values& values, const Shape& shape, DType dtype, Backend& backend) {
  return dispatch(dtype, [&]<class T>(Type<T>) {
    std::vector<T> elements(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      if constexpr (std::is_same_v<T, BFloat16>)
        elements[i] = BFloat16(static_cast<float>(values[i]));
      else
        elements[i] = static_cast<T>(values[i]);
    }
    return Tensor::from_bytes(std::as_bytes(std::span(elements)), shape, dtype, backend);
  });
}

inline Values download(const Tensor& tensor) {
  return dispatch(tensor.dtype(), [&]<class T>(Type<T>) {
    const std::vector<T> elements = tensor.to_host<T>();
    return Values(elements.begin(), elements.end());
  });
}

inline std::vector<unsigned char> bits(const Tensor& tensor) {
  return dispatch(tensor.dtype(), [&]<class T>(Type<T>) {
    const std::vector<T> elements = tensor.to_host<T>();
    std::vector<unsigned char> bytes(elements.size() * sizeof(T));
    if (!bytes.empty()) std::memcpy(bytes.data(), elements.data(), bytes.size());
    return bytes;
  });
}

struct Operand {
  Shape shape;
  Values values;
  DType fixed = DType::f64;  // f64: the dtype under test
};

using Kernel = std::function<void(Backend&, const std::vector<In>&, Out)>;

class CudaTest : public testing::Test {
 protected:
  void SetUp() override {
    try {
      cuda_ = &backend("cuda");
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
    Storage::take_guard_violations();
    Storage::set_guard(256);
  }
  void TearDown() override {
    Storage::set_guard(0);
    EXPECT_EQ(Storage::take_guard_violations(), 0) << "guard bytes overwritten";
  }

  Tensor run(Backend& where, const std::vector<Operand>& operands, const Shape& y, DType dtype, DType y_dtype,
             const Kernel& kernel) {
    std::vector<Tensor> tensors;
    std::vector<In> inputs;
    for (const Operand& operand : operands) {
      tensors.push_back(
          upload(operand.values, operand.shape, operand.fixed == DType::f64 ? dtype : operand.fixed, where));
      inputs.push_back(tensors.back().in());
    }
    const Tensor result = Tensor::empty(y, y_dtype, where);
    kernel(where, inputs, result.out());
    return result;
  }

  /// The kernel in `dtype`, its result in `y_dtype`, against double on the reference backend, to `tolerance`
  /// of the largest element.
  void check(const std::string& what, const std::vector<Operand>& operands, const Shape& y, DType dtype,
             DType y_dtype, const Kernel& kernel, double tolerance) {
    const DType exact = is_floating(y_dtype) ? DType::f64 : y_dtype;
    const DType exact_input = is_floating(dtype) ? DType::f64 : dtype;
    const Values expected = download(run(backend("reference"), operands, y, exact_input, exact, kernel));
    const Tensor first = run(*cuda_, operands, y, dtype, y_dtype, kernel);
    EXPECT_EQ(harness::difference(download(first), expected, {.tolerance = tolerance, .nonfinite = true}), "")
        << what << " in " << name_of(dtype) << " to " << name_of(y_dtype);
    EXPECT_EQ(bits(first), bits(run(*cuda_, operands, y, dtype, y_dtype, kernel)))
        << what << " in " << name_of(dtype) << ": other bits the second time";
  }

  Backend* cuda_ = nullptr;
};

}  // namespace om::cuda_check
