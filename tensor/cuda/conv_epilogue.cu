#include "tensor/cuda/conv_epilogue.h"

#include <cuda_bf16.h>

#include <limits>

#include "tensor/cuda/apply.h"
#include "tensor/cuda/check.h"
#include "tensor/cuda/launch.h"
#include "tensor/cuda/number.h"

namespace om::cuda {
namespace {

struct Prepared {
  const float *scale, *bias, *noise, *strength;
  float *scale_to, *bias_to, *noise_to;
  std::int64_t channels, pixels;
  float gain;
};

__global__ void prepare_kernel(Prepared p) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < p.channels) {
    if (p.scale_to != nullptr) p.scale_to[i] = p.gain * (p.scale != nullptr ? p.scale[i] : 1.0F);
    if (p.bias_to != nullptr) p.bias_to[i] = p.gain * (p.bias != nullptr ? p.bias[i] : 0.0F);
  }
  if (p.noise_to != nullptr && i < p.pixels) p.noise_to[i] = p.gain * *p.strength * p.noise[i];
}

/// Of non-negative floats the bits are in the numbers' order, so a maximum needs no lock and no order.
template <class T>
__global__ void difference_kernel(const T* a, const T* b, std::int64_t count, unsigned* largest) {
  float difference = 0, magnitude = 0;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += step) {
    const auto x = static_cast<float>(a[i]), y = static_cast<float>(b[i]);
    const float d = fabsf(x - y);
    difference = d <= difference ? difference : d == d ? d : INFINITY;
    magnitude = fmaxf(magnitude, fabsf(y));
  }
  atomicMax(largest, __float_as_uint(difference));
  atomicMax(largest + 1, __float_as_uint(magnitude));
}

__global__ void empty_kernel() {}

}  // namespace

void separate_launches(cudaStream_t stream) {
  empty_kernel<<<1, 1, 0, stream>>>();
  check_launch("separate_launches");
}

void prepare_epilogue(const ChannelKernels::Activation& from, Out scale, Out bias, Out noise,
                      cudaStream_t stream) {
  const Prepared p{from.scale.as<float>(),
                   from.bias.as<float>(),
                   from.noise.as<float>(),
                   from.strength.as<float>(),
                   scale.as<float>(),
                   bias.as<float>(),
                   noise.as<float>(),
                   std::max(scale.data != nullptr ? scale.shape.elements() : 0,
                            bias.data != nullptr ? bias.shape.elements() : 0),
                   noise.data != nullptr ? noise.shape.elements() : 0,
                   static_cast<float>(from.gain)};
  const std::int64_t count = std::max(p.channels, p.pixels);
  if (count == 0) return;
  prepare_kernel<<<static_cast<unsigned>((count + kThreads - 1) / kThreads), kThreads, 0, stream>>>(p);
  check_launch("conv2d_activation");
}

double largest_difference(CudaBackend& backend, In a, In b) {
  const Scratch largest(backend, 2 * sizeof(unsigned));
  check(cudaMemsetAsync(largest.data(), 0, 2 * sizeof(unsigned), backend.stream()), "cudaMemsetAsync");
  const std::int64_t count = a.shape.elements();
  const auto blocks = static_cast<unsigned>(std::min<std::int64_t>((count + kThreads - 1) / kThreads, 4096));
  dispatch_floating("cuda conv2d_activation", a.dtype, [&]<class T>(Type<T>) {
    difference_kernel<<<blocks, kThreads, 0, backend.stream()>>>(a.as<T>(), b.as<T>(), count,
                                                                 static_cast<unsigned*>(largest.data()));
  });
  check_launch("conv2d_activation");
  float values[2] = {};
  backend.copy_to_host(values, largest.data(), sizeof values);
  if (values[1] == 0) return values[0] == 0 ? 0 : std::numeric_limits<double>::infinity();
  return static_cast<double>(values[0]) / static_cast<double>(values[1]);
}

}  // namespace om::cuda
