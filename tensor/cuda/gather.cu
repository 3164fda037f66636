// gather and scatter_add.
//
// scatter_add must add duplicates so that the bits repeat. Each source hangs itself into the list of its
// destination (an exchange of the list's head: the lists' order is anybody's); then a thread per destination
// walks its list. One element is copied. A few are brought into their original order and added in double.
// Many are added as integers, whose sum knows no order: scaled such that the largest fills what 62 bits leave
// for so many, which errs less than a sum in double.
#include "tensor/cuda/check.h"
#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/index.h"
#include "tensor/cuda/launch.h"
#include "tensor/cuda/number.h"

namespace om::cuda {
namespace {

constexpr int kFew = 16;

template <class T>
__global__ void gather_kernel(const T* x, const std::int32_t* index, T* y, std::int64_t count, Divisor by_m,
                              std::int64_t s) {
  const std::int64_t first = first_element();
#pragma unroll
  for (int k = 0; k < kPerThread; ++k) {
    const std::int64_t i = first + k * kThreads;
    if (i < count) y[i] = x[by_m.divide(i) * s + index[i]];
  }
}

/// Sources [n][m] of one sample and its destinations; lists end at -1.
__global__ void link_kernel(const std::int32_t* index, std::int32_t* head, std::int32_t* next,
                            std::int64_t count, Divisor by_m, std::int64_t s) {
  const std::int64_t first = first_element();
#pragma unroll
  for (int k = 0; k < kPerThread; ++k) {
    const std::int64_t i = first + k * kThreads;
    if (i >= count) return;
    const std::int64_t sample = by_m.divide(i);
    const auto source = static_cast<std::int32_t>(i - sample * by_m.value());
    next[i] = atomicExch(head + sample * s + index[i], source);
  }
}

template <class T>
__device__ double sum_of_few(const T* x, const std::int32_t* next, std::int32_t source) {
  std::int32_t order[kFew];
  int count = 0;
#pragma unroll 1
  for (; source >= 0; source = next[source]) {
    int place = count++;
    for (; place > 0 && order[place - 1] > source; --place) order[place] = order[place - 1];
    order[place] = source;
  }
  double sum = 0;
#pragma unroll 1
  for (int i = 0; i < count; ++i) sum += static_cast<double>(x[order[i]]);
  return sum;
}

template <class T>
__device__ double sum_of_many(const T* x, const std::int32_t* next, std::int32_t source) {
  double largest = 0, plain = 0;
  std::int64_t count = 0;
  for (std::int32_t i = source; i >= 0; i = next[i], ++count) {
    const double value = static_cast<double>(x[i]);
    plain += value;
    largest = fmax(largest, fabs(value));
  }
  if (!isfinite(plain) || largest == 0) return plain;
  int bits = 0, exponent = 0;  // count < 2^bits, largest < 2^exponent
  while (count >> bits != 0) ++bits;
  frexp(largest, &exponent);
  const int shift = 62 - bits - exponent;
  std::int64_t sum = 0;
  for (std::int32_t i = source; i >= 0; i = next[i]) sum += llrint(scalbn(static_cast<double>(x[i]), shift));
  return scalbn(static_cast<double>(sum), -shift);
}

template <class T>
__global__ void add_lists_kernel(const T* x, const std::int32_t* head, const std::int32_t* next, T* y,
                                 std::int64_t count, Divisor by_s, std::int64_t m) {
  const std::int64_t first = first_element();
#pragma unroll
  for (int k = 0; k < kPerThread; ++k) {
    const std::int64_t i = first + k * kThreads;
    if (i >= count) return;
    const std::int32_t source = head[i];
    if (source < 0) {
      y[i] = static_cast<T>(0);
      continue;
    }
    const std::int64_t sample = by_s.divide(i) * m;
    const T* const values = x + sample;
    const std::int32_t* const list = next + sample;
    if (list[source] < 0) {
      y[i] = values[source];
      continue;
    }
    int length = 0;
    for (std::int32_t at = source; at >= 0 && length <= kFew; at = list[at]) ++length;
    y[i] =
        static_cast<T>(length <= kFew ? sum_of_few(values, list, source) : sum_of_many(values, list, source));
  }
}

}  // namespace

void CudaBackend::gather(In x, In index, Out y) {
  const Ordered order(*this, {x, index}, {y});
  const std::int64_t count = y.shape.elements();
  if (count == 0) return;
  dispatch_size(size_of(y.dtype), [&]<class T>(Type<T>) {
    gather_kernel<T><<<blocks_for(count), kThreads, 0, stream_>>>(
        x.as<T>(), index.as<std::int32_t>(), y.as<T>(), count, Divisor(y.shape[1]), x.shape[1]);
  });
  check_launch("gather");
}

void CudaBackend::scatter_add(In x, In index, Out y) {
  const Ordered order(*this, {x, index}, {y});
  const std::int64_t count = x.shape.elements(), places = y.shape.elements();
  if (count == 0 || places == 0) return fill(y, 0);
  if (x.shape[1] > INT32_MAX)
    fail("cuda: scatter_add takes at most 2^31 - 1 elements a sample, got ", x.shape[1]);
  const Scratch heads(*this, static_cast<std::size_t>(places) * sizeof(std::int32_t));
  const Scratch nexts(*this, static_cast<std::size_t>(count) * sizeof(std::int32_t));
  auto* const head = static_cast<std::int32_t*>(heads.data());
  auto* const next = static_cast<std::int32_t*>(nexts.data());
  check(cudaMemsetAsync(head, 0xff, static_cast<std::size_t>(places) * sizeof(std::int32_t), stream_),
        "cudaMemsetAsync");
  link_kernel<<<blocks_for(count), kThreads, 0, stream_>>>(index.as<std::int32_t>(), head, next, count,
                                                           Divisor(x.shape[1]), y.shape[1]);
  dispatch_floating("cuda scatter_add", y.dtype, [&]<class T>(Type<T>) {
    add_lists_kernel<T><<<blocks_for(places), kThreads, 0, stream_>>>(
        x.as<T>(), head, next, y.as<T>(), places, Divisor(y.shape[1]), x.shape[1]);
  });
  check_launch("scatter_add");
}

}  // namespace om::cuda
