// What the tests of matmul and of the convolutions share: one kernel call on the cpu backend in every
// floating dtype, compared with the reference backend in double, and repeated with other numbers of threads.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "tensor/cpu/kernels.h"
#include "tensor/registry.h"
#include "tensor/tensor.h"

namespace om::contraction_check {

using Kernel = std::function<void(Backend&, In, In, Out)>;

struct Tolerance {
  double f32 = 1e-5, f64 = 1e-12, bf16 = 4e-3;  ///< relative to the largest element of the result
};

inline std::vector<double> normal_values(const Shape& shape, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal;
  std::vector<double> values(static_cast<std::size_t>(shape.elements()));
  // Exact in every dtype under test, so that all compute the same function.
  for (double& value : values) value = BFloat16(static_cast<float>(normal(engine)));
  return values;
}

template <class T>
std::vector<T> converted(const std::vector<double>& values) {
  std::vector<T> out(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) out[i] = static_cast<T>(values[i]);
  return out;
}
template <>
inline std::vector<BFloat16> converted(const std::vector<double>& values) {
  std::vector<BFloat16> out(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) out[i] = BFloat16(static_cast<float>(values[i]));
  return out;
}

template <class T>
std::vector<T> run(const Kernel& kernel, const Shape& a, const std::vector<double>& a_values, const Shape& b,
                   const std::vector<double>& b_values, const Shape& y) {
  Backend& cpu = backend("cpu");
  const Tensor p = Tensor::from_host(converted<T>(a_values), a, cpu);
  const Tensor q = Tensor::from_host(converted<T>(b_values), b, cpu);
  const Tensor r = Tensor::empty(y, dtype_of<T>, cpu);
  kernel(cpu, p.in(), q.in(), r.out());
  return r.to_host<T>();
}

template <class T>
void check_dtype(const Kernel& kernel, const Shape& a, const std::vector<double>& a_values, const Shape& b,
                 const std::vector<double>& b_values, const Shape& y, const std::vector<double>& expected,
                 double tolerance, const std::string& what) {
  set_threads(1);
  const std::vector<T> got = run<T>(kernel, a, a_values, b, b_values, y);
  double largest = 0, error = 0;
  for (double value : expected) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double difference = std::abs(static_cast<double>(got[i]) - expected[i]);
    error = difference <= error ? error : difference;  // keeps NaN
  }
  EXPECT_LE(error, tolerance * largest) << what << " in " << name_of(dtype_of<T>);
  for (const int threads : {2, 3}) {
    set_threads(threads);
    const std::vector<T> again = run<T>(kernel, a, a_values, b, b_values, y);
    EXPECT_TRUE(got.empty() || std::memcmp(got.data(), again.data(), got.size() * sizeof(T)) == 0)
        << what << " in " << name_of(dtype_of<T>) << " differs with " << threads << " threads";
  }
  set_threads(0);
}

/// Once with the kernels of the build's own level (at most 32 bytes a vector) and once with those that the
/// processor has.
inline void check(const Kernel& kernel, const Shape& a, const Shape& b, const Shape& y,
                  const std::string& what, const Tolerance& tolerance = {}) {
  const std::vector<double> a_values = normal_values(a, 1), b_values = normal_values(b, 2);
  Backend& reference = backend("reference");
  const Tensor p = Tensor::from_host(a_values, a, reference), q = Tensor::from_host(b_values, b, reference);
  const Tensor r = Tensor::empty(y, DType::f64, reference);
  kernel(reference, p.in(), q.in(), r.out());
  const std::vector<double> expected = r.to_host<double>();
  for (const int bytes : {32, 0}) {
    cpu::limit_vector_bytes(bytes);
    const std::string where = bytes ? what + ", base kernels," : what + ", this processor's kernels,";
    check_dtype<float>(kernel, a, a_values, b, b_values, y, expected, tolerance.f32, where);
    check_dtype<double>(kernel, a, a_values, b, b_values, y, expected, tolerance.f64, where);
    check_dtype<BFloat16>(kernel, a, a_values, b, b_values, y, expected, tolerance.bf16, where);
  }
}

/// Largest error in f32, relative to the largest element of the result, on normal inputs with all 24 bits
/// used.
inline double float_error(const Kernel& kernel, const Shape& a, const Shape& b, const Shape& y) {
  std::vector<double> values[2];
  for (unsigned i = 0; i < 2; ++i) {
    std::mt19937 engine(i + 3);
    std::normal_distribution<double> normal;
    values[i].resize(static_cast<std::size_t>((i ? b : a).elements()));
    for (double& value : values[i]) value = static_cast<float>(normal(engine));
  }
  Backend& reference = backend("reference");
  const Tensor p = Tensor::from_host(values[0], a, reference), q = Tensor::from_host(values[1], b, reference);
  const Tensor r = Tensor::empty(y, DType::f64, reference);
  kernel(reference, p.in(), q.in(), r.out());
  const std::vector<double> expected = r.to_host<double>();
  const std::vector<float> got = run<float>(kernel, a, values[0], b, values[1], y);
  double largest = 0, error = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    largest = std::max(largest, std::abs(expected[i]));
    error = std::max(error, std::abs(static_cast<double>(got[i]) - expected[i]));
  }
  return error / largest;
}

}  // namespace om::contraction_check
