// random: one thread per Philox block of four words.
#include "tensor/cuda/check.h"
#include "tensor/cuda/cuda_backend.h"
#include "tensor/cuda/launch.h"
#include "tensor/cuda/number.h"
#include "tensor/philox.h"

namespace om::cuda {
namespace {

/// The four normals of a block, in double: near u = 1 a float could not hold the logarithm's argument.
__device__ void normals_of(const philox::Block& words, double (&values)[4]) {
#pragma unroll
  for (int pair = 0; pair < 4; pair += 2) {
    const double radius = sqrt(-2.0 * log(philox::radius_uniform(words[pair])));
    sincospi(2.0 * philox::angle_uniform(words[pair + 1]), &values[pair + 1], &values[pair]);
    values[pair] *= radius;
    values[pair + 1] *= radius;
  }
}

template <class T>
__global__ void random_kernel(T* y, Distribution distribution, const std::uint32_t* state,
                              std::int64_t count) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index * 4 >= count) return;
  const philox::State from{state[0] | std::uint64_t{state[1]} << 32,
                           state[2] | std::uint64_t{state[3]} << 32};
  const philox::Block words = philox::block(from, static_cast<std::uint64_t>(index));
  double normals[4];
  if (distribution == Distribution::normal) normals_of(words, normals);
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    if (index * 4 + k >= count) break;
    if constexpr (std::is_same_v<T, std::int32_t>) {
      y[index * 4 + k] = static_cast<std::int32_t>(words[k]);
    } else {
      using C = arithmetic_t<T>;
      y[index * 4 + k] =
          static_cast<T>(distribution == Distribution::normal ? static_cast<C>(normals[k])
                                                              : static_cast<C>(philox::uniform(words[k])));
    }
  }
}

}  // namespace

void CudaBackend::random(Out y, Distribution distribution, In state) {
  const Ordered order(*this, {state}, {y});
  const std::int64_t count = y.shape.elements();
  if (count == 0) return;
  const auto launch = [&]<class T>(Type<T>) {
    random_kernel<T><<<blocks_for(count), kThreads, 0, stream_>>>(y.as<T>(), distribution,
                                                                  state.as<std::uint32_t>(), count);
  };
  if (distribution == Distribution::bits)
    launch(Type<std::int32_t>{});
  else
    dispatch_floating("cuda random", y.dtype, launch);
  check_launch("random");
}

}  // namespace om::cuda
