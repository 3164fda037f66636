// Times kernels of the cuda backend, one line each: name, microseconds a call, TFLOP/s or GB/s. Medians of 7
// rounds of many calls between two waits. scripts/device_torch.py prints the same rows from PyTorch.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "tensor/registry.h"
#include "tensor/tensor.h"

namespace {

using namespace om;

double microseconds(Backend& b, const std::function<void()>& call) {
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
Tensor pattern(const Shape& shape, DType dtype, Backend& b) {
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

void row(const std::string& name, double time, double amount, const char* unit) {
  std::printf("%-44s %10.1f us %9.1f %s\n", name.c_str(), time, amount / time, unit);
}

void convolutions(Backend& b, std::int64_t size, std::int64_t channels, DType dtype, Math math) {
  const Tensor x = pattern({8, size, size, channels}, dtype, b);
  const Tensor w = pattern({channels, 3, 3, channels}, dtype, b);
  const Tensor y = pattern({8, size, size, channels}, dtype, b);
  const Conv2dParams params{1, 1, 1, 1, math};
  const double flops =
      2.0 * 8 * 9 * static_cast<double>(size) * static_cast<double>(size * channels * channels);
  const std::string suffix =
      text(' ', size, 'x', size, 'x', channels, ' ', name_of(dtype), math == Math::tf32 ? " tf32" : "");
  row("conv2d" + suffix, microseconds(b, [&] { b.conv2d(x.in(), w.in(), y.out(), params); }), flops * 1e-6,
      "TFLOP/s");
  row("conv2d_input_grad" + suffix,
      microseconds(b, [&] { b.conv2d_input_grad(y.in(), w.in(), x.out(), params); }), flops * 1e-6,
      "TFLOP/s");
  row("conv2d_weight_grad" + suffix,
      microseconds(b, [&] { b.conv2d_weight_grad(x.in(), y.in(), w.out(), params); }), flops * 1e-6,
      "TFLOP/s");
}

void bandwidths(Backend& b) {
  const Shape shape = {32, 256, 256, 128};
  const double bytes = static_cast<double>(shape.elements()) * 4;
  const Tensor x = pattern(shape, DType::f32, b), y = pattern(shape, DType::f32, b);
  const Tensor z = Tensor::empty(shape, DType::f32, b), bias = pattern({1, 1, 1, 128}, DType::f32, b);
  const Tensor sums = Tensor::empty({1, 1, 1, 128}, DType::f32, b);
  const Tensor rows = Tensor::empty({32, 256, 256, 1}, DType::f32, b);
  const Tensor half = Tensor::empty(shape, DType::bf16, b);
  const auto gigabytes = [&](const char* name, double moved, const std::function<void()>& call) {
    row(name, microseconds(b, call), moved * 1e-3, "GB/s");
  };
  gigabytes("copy", 2 * bytes, [&] { b.copy(z.out().data, x.in().data, static_cast<std::size_t>(bytes)); });
  gigabytes("fill", bytes, [&] { b.fill(z.out(), 1.5); });
  gigabytes("add", 3 * bytes, [&] { b.binary(BinaryOp::add, x.in(), y.in(), z.out(), 0); });
  gigabytes("add bias", 2 * bytes, [&] { b.binary(BinaryOp::add, x.in(), bias.in(), z.out(), 0); });
  gigabytes("leaky_relu", 2 * bytes, [&] { b.unary(UnaryOp::leaky_relu, x.in(), z.out(), 0.2, 0); });
  gigabytes("tanh", 2 * bytes, [&] { b.unary(UnaryOp::hyperbolic_tangent, x.in(), z.out(), 0, 0); });
  gigabytes("cast to bf16", 1.5 * bytes, [&] { b.cast(x.in(), half.out()); });
  gigabytes("sum over N, H, W", bytes, [&] { b.reduce(ReduceOp::sum, x.in(), sums.out()); });
  gigabytes("sum over C", bytes, [&] { b.reduce(ReduceOp::sum, x.in(), rows.out()); });
  gigabytes("permute NHWC to NCHW", 2 * bytes, [&] {
    b.strided_copy(x.in(), 0, {256 * 256 * 128, 1, 256 * 128, 128}, z.out(), 0,
                   Shape{32, 128, 256, 256}.strides(), {32, 128, 256, 256});
  });
}

}  // namespace

int main() {
  try {
    Backend& b = backend("cuda");
    std::printf("%s\n", b.description().c_str());
    for (const auto& [size, channels] : {std::pair{64, 512}, std::pair{128, 256}}) {
      convolutions(b, size, channels, DType::f32, Math::strict);
      convolutions(b, size, channels, DType::f32, Math::tf32);
      convolutions(b, size, channels, DType::bf16, Math::strict);
    }
    bandwidths(b);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
