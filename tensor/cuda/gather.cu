// gather and scatter_add.
//
// scatter_add must add duplicates in a fixed order. A stable radix sort of the destinations (CUB) brings
// equal ones together in their original order; one thread per run then adds it up, in double, and writes it.
#include <cub/device/device_radix_sort.cuh>

#include "tensor/cuda/check.h"
#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/index.h"
#include "tensor/cuda/launch.h"
#include "tensor/cuda/number.h"

namespace om::cuda {
namespace {

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

__global__ void destinations_kernel(const std::int32_t* index, std::int64_t* destination, std::int64_t* place,
                                    std::int64_t count, Divisor by_m, std::int64_t s) {
  const std::int64_t first = first_element();
  for (int k = 0; k < kPerThread; ++k) {
    const std::int64_t i = first + k * kThreads;
    if (i >= count) return;
    destination[i] = by_m.divide(i) * s + index[i];
    place[i] = i;
  }
}

template <class T>
__global__ void add_runs_kernel(const T* x, const std::int64_t* destination, const std::int64_t* place, T* y,
                                std::int64_t count) {
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (first >= count) return;
  const std::int64_t target = destination[first];
  if (first > 0 && destination[first - 1] == target) return;
  double sum = 0;
  for (std::int64_t i = first; i < count && destination[i] == target; ++i)
    sum += static_cast<double>(x[place[i]]);
  y[target] = static_cast<T>(sum);
}

}  // namespace

void CudaBackend::gather(In x, In index, Out y) {
  const std::int64_t count = y.shape.elements();
  if (count == 0) return;
  dispatch_size(size_of(y.dtype), [&]<class T>(Type<T>) {
    gather_kernel<T><<<blocks_for(count), kThreads, 0, stream_>>>(
        x.as<T>(), index.as<std::int32_t>(), y.as<T>(), count, Divisor(y.shape[1]), x.shape[1]);
  });
  check_launch("gather");
}

void CudaBackend::scatter_add(In x, In index, Out y) {
  fill(y, 0);
  const std::int64_t count = x.shape.elements();
  if (count == 0 || y.shape.elements() == 0) return;
  const auto bytes = static_cast<std::size_t>(count) * sizeof(std::int64_t);
  const Scratch keys(*this, 2 * bytes), places(*this, 2 * bytes);
  auto* const key = static_cast<std::int64_t*>(keys.data());
  auto* const place = static_cast<std::int64_t*>(places.data());
  destinations_kernel<<<blocks_for(count), kThreads, 0, stream_>>>(index.as<std::int32_t>(), key, place,
                                                                   count, Divisor(x.shape[1]), y.shape[1]);
  check_launch("scatter_add");
  int digits = 1;
  while (y.shape.elements() >> digits != 0) ++digits;
  const auto sort = [&](void* scratch, std::size_t& size) {
    check(cub::DeviceRadixSort::SortPairs(scratch, size, key, key + count, place, place + count, count, 0,
                                          digits, stream_),
          "sorting");
  };
  std::size_t size = 0;
  sort(nullptr, size);
  const Scratch scratch(*this, size);
  sort(scratch.data(), size);
  dispatch_floating("cuda scatter_add", y.dtype, [&]<class T>(Type<T>) {
    add_runs_kernel<T><<<static_cast<unsigned>((count + kThreads - 1) / kThreads), kThreads, 0, stream_>>>(
        x.as<T>(), key + count, place + count, y.as<T>(), count);
  });
  check_launch("scatter_add");
}

}  // namespace om::cuda
