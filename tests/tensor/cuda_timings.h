// What the timing rows of the cuda backend share (cuda_timings.cpp).
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "tensor/registry.h"
#include "tensor/tensor.h"

namespace om::cuda_timings {

/// The median of 7 rounds of many calls between two waits.
inline double microseconds(Backend& b, const std::function<void()>& call) {
  using Clock = std::chrono::steady_clock;
  const auto round = [&](int calls) {
    b.synchronize();
    const auto start = Clock::now();
    for (int i = 0; i < calls; ++i) call();
    b.synchronize();
    return std::chrono::duration<double, std::micro>(Clock::now() - start).count() / calls;
  };
  round(3);
  const int calls = std::clamp(static_cast<int>(30000 / round(3)), 3, 1000);
  std::vector<double> rounds;
  for (int i = 0; i < 7; ++i) rounds.push_back(round(calls));
  std::sort(rounds.begin(), rounds.end());
  return rounds[3];
}

/// Normals would need the random kernel; a smooth pattern from the host does.
inline Tensor pattern(const Shape& shape, DType dtype, Backend& b) {
  std::vector<float> values(static_cast<std::size_t>(shape.elements()));
  std::uint32_t word = 1;
  for (float& value : values) {
    word = word * 1664525U + 1013904223U;
    value = static_cast<float>(word >> 8) * 0x1p-23F - 1.0F;
  }
  const Tensor host = Tensor::from_host(values, shape, b);
  if (dtype == DType::f32) return host;
  const Tensor result = Tensor::empty(shape, dtype, b);
  b.cast(host.in(), result.out());
  return result;
}

inline void row(const std::string& name, double time, double amount, const char* unit) {
  std::printf("%-44s %10.1f us %9.1f %s\n", name.c_str(), time, amount / time, unit);
}

/// A row that moves `bytes`.
inline void bandwidth(Backend& b, const std::string& name, double bytes, const std::function<void()>& call) {
  row(name, microseconds(b, call), bytes * 1e-3, "GB/s");
}

inline double bytes_of(const Tensor& x) {
  return static_cast<double>(x.elements()) * static_cast<double>(size_of(x.dtype()));
}

/// The fused kernels' rows (cuda_fused_timings.cpp).
void fused_rows(Backend& b);

}  // namespace om::cuda_timings
