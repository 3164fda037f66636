// onemodel_bench [--backend NAME] [--dtype f32|f64|bf16] [--threads N] [--vector BYTES] [Google Benchmark's
// options]: times the benchmark cases of the table, each forward ("conv2d/64px_512") and with its gradients
// ("../grad"); "kernel/.." are single kernels. --vector 32 keeps the cpu backend from AVX-512.
//
// Two measurements of the machine come first: the bandwidth of a large copy and the rate of a large matmul. A
// row then shows GB/s, GFLOP/s and "of_peak": the time that the peaks would allow, max(bytes / bandwidth,
// flops / rate), over the time taken. A gradient's flops are those of the forward pass once for it and once
// per differentiable input; its bytes likewise.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "tensor/cpu/kernels.h"
#include "tensor/registry.h"
#include "tests/cases/case.h"

namespace om::bench {
namespace {

using cases::Case;

struct Settings {
  std::string backend = "cpu";
  DType dtype = DType::f32;
};

struct Peaks {
  double bytes_per_second = 0, flops_per_second = 0;
};

/// The shortest of several runs, in seconds.
template <class Body>
double best_time(Backend& on, Body&& body) {
  double best = 1e30;
  for (int run = 0; run < 7; ++run) {
    on.synchronize();
    const auto start = std::chrono::steady_clock::now();
    body();
    on.synchronize();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

Peaks measure_peaks(Backend& on, DType dtype) {
  const NoGrad off;
  const std::int64_t count = std::int64_t{1} << 26;  // 256 MiB in f32: beyond any cache
  const Tensor x = Tensor::full({count}, 1, dtype, on), y = x.empty_like();
  const std::int64_t n = on.host_memory() ? 1024 : 8192;
  const Tensor a = Tensor::full({n, n}, 0.5, dtype, on);
  const double bytes = 2.0 * static_cast<double>(count) * static_cast<double>(size_of(dtype));
  const Strides dense = x.shape().strides();
  const double copy = best_time(on, [&] { on.strided_copy(x.in(), 0, dense, y.out(), 0, dense, x.shape()); });
  const double product = best_time(on, [&] { benchmark::DoNotOptimize(matmul(a, a)); });
  return {bytes / copy, 2.0 * static_cast<double>(n * n * n) / product};
}

double bytes_of(const Tensor& x) {
  return static_cast<double>(x.elements()) * static_cast<double>(size_of(x.dtype()));
}

struct Work {
  double flops, bytes;
};

Work work_of(const Case& c, const cases::Inputs& inputs, const Tensor& result) {
  Work work{c.flops, c.bytes};
  if (work.flops == 0) work.flops = static_cast<double>(result.elements());
  if (work.bytes == 0) {
    work.bytes = bytes_of(result);
    for (const Tensor& input : inputs) work.bytes += bytes_of(input);
  }
  return work;
}

/// Seconds since it was made.
class Clock {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

void report(benchmark::State& state, const Work& work, const Peaks& peaks, double seconds) {
  const double each = seconds / static_cast<double>(state.iterations());
  const double ideal = std::max(work.bytes / peaks.bytes_per_second, work.flops / peaks.flops_per_second);
  state.counters["GB/s"] = work.bytes * 1e-9 / each;
  state.counters["GFLOP/s"] = work.flops * 1e-9 / each;
  state.counters["of_peak"] = ideal / each;
}

void time_forward(benchmark::State& state, const Case& c, Backend& on, DType dtype, const Peaks& peaks) {
  const NoGrad off;
  const cases::Inputs inputs = cases::tensors(c, cases::draw(c, dtype), dtype, on);
  const Work work = work_of(c, inputs, c.function(inputs));
  on.synchronize();
  const Clock clock;
  for (auto _ : state) {
    const Tensor result = c.function(inputs);
    on.synchronize();
    benchmark::DoNotOptimize(result.storage()->data());
  }
  report(state, work, peaks, clock.seconds());
}

void time_gradients(benchmark::State& state, const Case& c, Backend& on, DType dtype, const Peaks& peaks) {
  const cases::Inputs inputs = cases::tensors(c, cases::draw(c, dtype), dtype, on);
  std::vector<Tensor> marked;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (c.inputs[i].differentiable) marked.push_back(require_grad(inputs[i]));
  const Tensor first = c.function(inputs);
  const Tensor r = cases::tensor(cases::draw_weights(first.elements(), 1), first.shape(), first.dtype(), on);
  Work work = work_of(c, inputs, first);
  work.flops *= 1 + static_cast<double>(marked.size());
  work.bytes *= 1 + static_cast<double>(marked.size());
  on.synchronize();
  const Clock clock;
  for (auto _ : state) {
    const auto gradients = grad({c.function(inputs)}, marked, {.output_gradients = {r}});
    on.synchronize();
    benchmark::DoNotOptimize(gradients.data());
  }
  report(state, work, peaks, clock.seconds());
}

void register_cases(Backend& on, DType dtype, const Peaks& peaks) {
  for (const Case& c : cases::all()) {
    if ((c.drivers & cases::kBenchmark) == 0) continue;
    const auto time = [&](const std::string& name, auto body) {
      benchmark::RegisterBenchmark(
          name.c_str(),
          [&c, &on, dtype, peaks, body](benchmark::State& state) { body(state, c, on, dtype, peaks); })
          ->Unit(benchmark::kMicrosecond)
          ->UseRealTime();
    };
    time(c.name, time_forward);
    if (c.order > 0) time(c.name + "/grad", time_gradients);
  }
}

/// Takes our own options out of the arguments.
Settings take_settings(int& argc, char** argv) {
  Settings settings;
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 >= argc) fail<UsageError>(option, ": expects a value");
      return argv[++i];
    };
    if (option == "--backend")
      settings.backend = value();
    else if (option == "--threads")
      set_threads(std::stoi(value()));
    else if (option == "--vector")
      cpu::limit_vector_bytes(std::stoi(value()));
    else if (option == "--dtype") {
      const std::string name = value();
      bool known = false;
      for (const DType dtype : {DType::f32, DType::f64, DType::bf16})
        if (name_of(dtype) == name) settings.dtype = dtype, known = true;
      if (!known) fail<UsageError>("--dtype: expects f32, f64 or bf16, got '", name, "'");
    } else
      argv[kept++] = argv[i];
  }
  argc = kept;
  return settings;
}

int run(int argc, char** argv) {
  const Settings settings = take_settings(argc, argv);
  Backend& on = backend(settings.backend);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const Peaks peaks = measure_peaks(on, settings.dtype);
  benchmark::AddCustomContext("backend", on.description());
  benchmark::AddCustomContext("dtype", std::string(name_of(settings.dtype)));
  benchmark::AddCustomContext("peak copy", text(peaks.bytes_per_second * 1e-9, " GB/s"));
  benchmark::AddCustomContext("peak matmul", text(peaks.flops_per_second * 1e-9, " GFLOP/s"));
  register_cases(on, settings.dtype, peaks);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace om::bench

int main(int argc, char** argv) {
  try {
    return om::bench::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "onemodel_bench: %s\n", error.what());
    return 2;
  }
}
