// AdamKernels for the cpu: every array is read and written once. Tiles are cut by the arrays' sizes alone.
#include <algorithm>
#include <cmath>
#include <vector>

#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/parallel.h"

namespace om {
namespace {

constexpr std::int64_t kElements = 16384;

/// A run of elements of one of several arrays.
struct Run {
  std::size_t array;
  std::int64_t first, count;
};

template <class Array, class ShapeOf>
std::vector<Run> runs_of(std::span<const Array> arrays, const ShapeOf& shape_of) {
  std::vector<Run> runs;
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    const std::int64_t elements = shape_of(arrays[i]).elements();
    for (std::int64_t first = 0; first < elements; first += kElements)
      runs.push_back({i, first, std::min(kElements, elements - first)});
  }
  return runs;
}

template <class T>
double sum_of_squares(const T* x, std::int64_t count) {
  double total = 0;
#pragma omp simd reduction(+ : total)
  for (std::int64_t i = 0; i < count; ++i) total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return total;
}

/// An array's scalars, in its dtype.
template <class T>
struct Factors {
  Factors(const AdamKernels::AdamArray& array, const AdamKernels::AdamConstants& k)
      : beta1(static_cast<T>(k.beta1)),
        beta2(static_cast<T>(k.beta2)),
        rest1(static_cast<T>(1 - k.beta1)),
        rest2(static_cast<T>(1 - k.beta2)),
        eps(static_cast<T>(k.eps)),
        decay(static_cast<T>(k.weight_decay)) {
    const double t = *array.steps.as<double>();
    const auto correction = [&](double beta) { return beta == 0 ? 1.0 : 1 - std::exp(t * std::log(beta)); };
    step = static_cast<T>(*array.rate.as<double>() / correction(k.beta1));
    root = static_cast<T>(std::sqrt(correction(k.beta2)));
    if (array.norm.data == nullptr) return;
    const T ratio = static_cast<T>(k.clip_norm) / (*array.norm.as<T>() + static_cast<T>(1e-6));
    clip = ratio >= 1 ? T{1} : ratio;  // NaN stays
  }
  T beta1, beta2, rest1, rest2, eps, decay, step, root, clip = 1;
};

template <class T>
void update(const AdamKernels::AdamArray& array, const AdamKernels::AdamConstants& constants,
            const Run& run) {
  const Factors<T> f(array, constants);
  const T* g = array.gradient.as<T>() + run.first;
  T *p = array.parameter.as<T>() + run.first, *m = array.first.as<T>() + run.first,
    *v = array.second.as<T>() + run.first;
#pragma omp simd
  for (std::int64_t i = 0; i < run.count; ++i) {
    const T gradient = g[i] * f.clip + f.decay * p[i];
    m[i] = f.beta1 * m[i] + f.rest1 * gradient;
    v[i] = f.beta2 * v[i] + f.rest2 * (gradient * gradient);
    p[i] -= m[i] / (std::sqrt(v[i]) / f.root + f.eps) * f.step;
  }
}

template <class Body>
void in_float_or_double(DType dtype, Body&& body) {
  if (dtype == DType::f64) {
    body(Type<double>{});
  } else {
    body(Type<float>{});
  }
}

}  // namespace

void CpuBackend::adam_norm(std::span<const In> gradients, Out norm) {
  const std::vector<Run> runs = runs_of(gradients, [](const In& in) { return in.shape; });
  std::vector<double> parts(runs.size());
  in_float_or_double(norm.dtype, [&]<class T>(Type<T>) {
    parallel_for(static_cast<std::int64_t>(runs.size()), [&](std::int64_t i) {
      const Run& run = runs[static_cast<std::size_t>(i)];
      parts[static_cast<std::size_t>(i)] =
          sum_of_squares(gradients[run.array].as<T>() + run.first, run.count);
    });
    double total = 0;
    for (const double part : parts) total += part;
    *norm.as<T>() = static_cast<T>(std::sqrt(total));
  });
}

void CpuBackend::adam(std::span<const AdamArray> arrays, const AdamConstants& constants) {
  const std::vector<Run> runs = runs_of(arrays, [](const AdamArray& array) { return array.gradient.shape; });
  parallel_for(static_cast<std::int64_t>(runs.size()), [&](std::int64_t i) {
    const Run& run = runs[static_cast<std::size_t>(i)];
    in_float_or_double(arrays[run.array].gradient.dtype,
                       [&]<class T>(Type<T>) { update<T>(arrays[run.array], constants, run); });
  });
}

}  // namespace om
