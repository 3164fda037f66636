// Runs one kernel of the cpu backend against the reference in double, with guard bytes around misaligned
// arrays, and with 1 and 2 threads, whose bits must agree.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "tensor/registry.h"
#include "tensor/tensor.h"

namespace om::kernel_check {

/// An array of a case. Without a dtype it takes each floating dtype in turn, and f64 on the reference.
struct Array {
  Shape shape;
  std::vector<double> values;  // of an output: what it holds before
  std::optional<DType> dtype{};
};

using Kernel = std::function<void(Backend&, const std::vector<In>&, const std::vector<Out>&)>;

inline std::vector<double> noise(const Shape& shape, std::uint64_t seed, double low = -2, double high = 2) {
  std::mt19937_64 engine(seed);
  std::uniform_real_distribution<double> uniform(low, high);
  std::vector<double> values(static_cast<std::size_t>(shape.elements()));
  for (double& value : values) value = uniform(engine);
  return values;
}

inline Array random_array(const Shape& shape, std::uint64_t seed, double low = -2, double high = 2) {
  return {shape, noise(shape, seed, low, high)};
}

inline Array output(const Shape& shape, std::optional<DType> dtype = {}) {
  return {shape, std::vector<double>(static_cast<std::size_t>(shape.elements()), 7), dtype};
}

template <class T>
std::vector<T> rounded(const std::vector<double>& values) {
  std::vector<T> result(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    if constexpr (std::is_same_v<T, BFloat16>)
      result[i] = BFloat16(static_cast<float>(values[i]));
    else
      result[i] = static_cast<T>(values[i]);
  }
  return result;
}

inline Tensor upload(const std::vector<double>& values, const Shape& shape, DType dtype, Backend& backend) {
  return dispatch(dtype,
                  [&]<class T>(Type<T>) { return Tensor::from_host(rounded<T>(values), shape, backend); });
}

inline std::vector<double> download(const Tensor& tensor) {
  return dispatch(tensor.dtype(), [&]<class T>(Type<T>) {
    const auto host = tensor.to_host<T>();
    std::vector<double> values(host.size());
    for (std::size_t i = 0; i < host.size(); ++i) values[i] = static_cast<double>(host[i]);
    return values;
  });
}

inline std::vector<std::vector<double>> run(const Kernel& kernel, const std::vector<Array>& inputs,
                                            const std::vector<Array>& outputs, DType dtype, DType rounding,
                                            Backend& backend) {
  std::vector<Tensor> tensors;
  std::vector<In> in;
  std::vector<Out> out;
  // Both backends see the same numbers: those that the narrower dtype can hold.
  const auto place = [&](const Array& array) {
    const auto values = array.dtype ? array.values : dispatch(rounding, [&]<class T>(Type<T>) {
      const auto narrow = rounded<T>(array.values);
      return std::vector<double>(narrow.begin(), narrow.end());
    });
    return tensors.emplace_back(upload(values, array.shape, array.dtype.value_or(dtype), backend));
  };
  for (const Array& array : inputs) in.push_back(place(array).in());
  for (const Array& array : outputs) out.push_back(place(array).out());
  kernel(backend, in, out);
  std::vector<std::vector<double>> results;
  for (std::size_t i = inputs.size(); i < tensors.size(); ++i) results.push_back(download(tensors[i]));
  return results;
}

inline bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0);
}

inline double tolerance(DType dtype) {
  return dtype == DType::f64 ? 1e-13 : dtype == DType::f32 ? 3e-6 : 1.0 / 250;
}

/// Runs a kernel on both backends and compares. Differences may be tolerance * scale * (1 + |expected|).
inline void check_one(const std::string& name, DType dtype, const std::vector<Array>& inputs,
                      const std::vector<Array>& outputs, const Kernel& kernel, double scale = 1) {
  SCOPED_TRACE(name + " " + std::string(name_of(dtype)));
  const DType exact = is_floating(dtype) ? DType::f64 : dtype;
  const auto expected = run(kernel, inputs, outputs, exact, dtype, backend("reference"));
  Storage::set_guard(72);
  set_threads(1);
  const auto got = run(kernel, inputs, outputs, dtype, dtype, backend("cpu"));
  set_threads(2);
  const auto again = run(kernel, inputs, outputs, dtype, dtype, backend("cpu"));
  set_threads(0);
  Storage::set_guard(0);
  EXPECT_EQ(Storage::take_guard_violations(), 0);
  for (std::size_t k = 0; k < got.size(); ++k) {
    EXPECT_TRUE(same_bits(got[k], again[k])) << "output " << k << " depends on the number of threads";
    const DType written = outputs[k].dtype.value_or(dtype);
    for (std::size_t i = 0; i < got[k].size(); ++i) {
      const double a = got[k][i], e = expected[k][i];
      const bool equal = a == e || (std::isnan(a) && std::isnan(e));
      const double allowed = is_floating(written)
                                 ? scale * std::max(tolerance(written), tolerance(dtype)) * (1 + std::abs(e))
                                 : 0;
      if (equal || std::abs(a - e) <= allowed) continue;
      ADD_FAILURE() << "output " << k << " element " << i << " of " << outputs[k].shape << ": expected " << e
                    << ", got " << a;
      break;
    }
  }
}

inline void check(const std::string& name, const std::vector<Array>& inputs,
                  const std::vector<Array>& outputs, const Kernel& kernel, double scale = 1) {
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16})
    check_one(name, dtype, inputs, outputs, kernel, scale);
}

}  // namespace om::kernel_check
