// Matrix products and convolutions of the 256-pixel model on the cpu backend, every path of the table in
// tensor/cpu/conv2d.cpp among them: GFLOP/s counted as the direct
// algorithm's, so that a fast algorithm may show more than the machine's peak. scripts/ compares the same
// shapes with PyTorch.
#include <benchmark/benchmark.h>

#include <array>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/cpu/kernels.h"
#include "tensor/registry.h"
#include "tensor/tensor.h"

namespace om {
namespace {

Tensor normal(const Shape& shape) {
  std::mt19937 engine(static_cast<unsigned>(shape.elements()));
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(shape.elements()));
  for (float& value : values) value = normal(engine);
  return Tensor::from_host(values, shape, backend("cpu"));
}

void report(benchmark::State& state, double flops) {
  state.counters["GFLOP/s"] = benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

void matmul(benchmark::State& state, std::int64_t m, std::int64_t n, std::int64_t k, bool transpose_b) {
  Backend& cpu = backend("cpu");
  const Tensor a = normal({1, m, k}), b = normal(transpose_b ? Shape{1, n, k} : Shape{1, k, n});
  const Tensor y = Tensor::empty({1, m, n}, DType::f32, cpu);
  for (auto _ : state) cpu.matmul(a.in(), b.in(), y.out(), {.transpose_b = transpose_b});
  report(state, 2.0 * static_cast<double>(m * n * k));
}

struct Conv {
  const char* name;
  std::int64_t n, size, i, o, kernel, stride, pad;
};

enum class Pass { forward, input_grad, weight_grad };

void convolve(benchmark::State& state, const Conv& c, Pass pass) {
  Backend& cpu = backend("cpu");
  const std::int64_t out = (c.size + 2 * c.pad - c.kernel) / c.stride + 1;
  const Tensor x = normal({c.n, c.size, c.size, c.i}), w = normal({c.o, c.kernel, c.kernel, c.i});
  const Tensor y = normal({c.n, out, out, c.o});
  const Conv2dParams params{.stride_h = c.stride, .stride_w = c.stride, .pad_h = c.pad, .pad_w = c.pad};
  const auto run = [&] {
    switch (pass) {
      case Pass::forward: return cpu.conv2d(x.in(), w.in(), y.out(), params);
      case Pass::input_grad: return cpu.conv2d_input_grad(y.in(), w.in(), x.out(), params);
      case Pass::weight_grad: return cpu.conv2d_weight_grad(x.in(), y.in(), w.out(), params);
    }
  };
  run();  // the first call finds its workspace
  for (auto _ : state) run();
  report(state, 2.0 * static_cast<double>(c.n * out * out * c.o * c.kernel * c.kernel * c.i));
}

// The transposed rows are the generator's upsampling convolutions: an input gradient with 2 s + 1 pixels.
const std::vector<Conv> convs = {
    {"4_512", 1, 4, 512, 512, 3, 1, 1},
    {"8_512", 1, 8, 512, 512, 3, 1, 1},
    {"16_512", 1, 16, 512, 512, 3, 1, 1},
    {"32_512", 1, 32, 512, 512, 3, 1, 1},
    {"64_512", 1, 64, 512, 512, 3, 1, 1},
    {"128_256", 1, 128, 256, 256, 3, 1, 1},
    {"256_128", 1, 256, 128, 128, 3, 1, 1},
    {"b4_16_512", 4, 16, 512, 512, 3, 1, 1},
    {"vgg_256_64", 1, 256, 64, 64, 3, 1, 1},
    {"vgg_256_3_64", 1, 256, 3, 64, 3, 1, 1},
    {"vgg_32_256", 1, 32, 256, 256, 3, 1, 1},
    {"down_65_512", 1, 65, 512, 512, 3, 2, 0},
    {"down_257_128_256", 1, 257, 128, 256, 3, 2, 0},
    {"up_9_512", 1, 9, 512, 512, 3, 2, 0},
    {"up_33_512", 1, 33, 512, 512, 3, 2, 0},
    {"up_65_512", 1, 65, 512, 512, 3, 2, 0},
    {"up_129_512_256", 1, 129, 256, 512, 3, 2, 0},
    {"up_257_256_128", 1, 257, 128, 256, 3, 2, 0},
    {"rgb_256_128_3", 1, 256, 128, 3, 1, 1, 0},
    {"noise_64_512_1", 1, 64, 512, 1, 3, 1, 1},
    {"skip_256_128_256", 1, 256, 128, 256, 1, 1, 0},
    {"skip_256_64_128_s2", 1, 256, 64, 128, 1, 2, 0},
    {"mix_64_512_256", 1, 64, 512, 256, 1, 1, 0},
};

void register_all() {
  const auto add = [](const std::string& name, auto&& body) {
    benchmark::RegisterBenchmark(name.c_str(), body)
        ->MeasureProcessCPUTime()
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  };
  for (const auto& [m, n, k] : std::vector<std::array<std::int64_t, 3>>{
           {1, 512, 512}, {4, 512, 512}, {512, 512, 512}, {1024, 1024, 1024}, {4096, 512, 512}})
    for (const bool transpose_b : {false, true})
      add(text("matmul/", m, "x", n, "x", k, transpose_b ? "/bt" : ""),
          [=, m = m, n = n, k = k](benchmark::State& state) { matmul(state, m, n, k, transpose_b); });
  for (const Conv& c : convs) {
    add(text("conv2d/", c.name), [&c](benchmark::State& state) { convolve(state, c, Pass::forward); });
    add(text("conv2d_input_grad/", c.name),
        [&c](benchmark::State& state) { convolve(state, c, Pass::input_grad); });
    add(text("conv2d_weight_grad/", c.name),
        [&c](benchmark::State& state) { convolve(state, c, Pass::weight_grad); });
  }
}

}  // namespace
}  // namespace om

/// Besides Google Benchmark's flags: --threads=N (with 1, CPU time is what counts on a busy machine),
/// --vector=32 (no AVX-512).
int main(int argc, char** argv) {
  om::register_all();
  benchmark::Initialize(&argc, argv);
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.starts_with("--threads="))
      om::set_threads(std::atoi(argument.data() + 10));
    else if (argument.starts_with("--vector="))
      om::cpu::limit_vector_bytes(std::atoi(argument.data() + 9));
    else
      argv[kept++] = argv[i];
  }
  argc = kept;
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
