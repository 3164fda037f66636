// The activation between two convolutions in one pass: y = gain f(scale x + strength noise + bias + residual)
// factor, on images in f32, f64 and bf16.
#include "tensor/cuda/channel_argument.h"
#include "tensor/cuda/check.h"
#include "tensor/cuda/cuda_backend.h"

namespace om::cuda {
namespace {

constexpr int kUnrolled = 4;

template <class T, int V>
__global__ void __launch_bounds__(kChannelThreads)
    activation_kernel(ArgumentPointers<T> in, T* y, ChannelLayout layout) {
  using C = arithmetic_t<T>;
  const int group = static_cast<int>(blockIdx.y) * layout.block_groups +
                    static_cast<int>(threadIdx.x) % layout.block_groups;
  const int row = static_cast<int>(threadIdx.x) / layout.block_groups;
  if (group >= layout.groups || row >= layout.rows) return;
  const std::int64_t channel = static_cast<std::int64_t>(group) * V;
  for (std::int64_t work = blockIdx.x; work < layout.work(); work += gridDim.x) {
    const std::int64_t image = work / layout.chunks, chunk = work % layout.chunks;
    const Coefficients<T, V> coefficients(in, image, channel);
    const std::int64_t first = chunk * layout.rows * layout.steps + row;
    for (int step = 0; step < layout.steps; step += kUnrolled) {
      ArgumentOperands<T, V> operands[kUnrolled];
#pragma unroll
      for (int k = 0; k < kUnrolled; ++k) {
        const std::int64_t pixel = first + static_cast<std::int64_t>(step + k) * layout.rows;
        if (pixel < layout.pixels)
          operands[k].load(in, image, pixel, (image * layout.pixels + pixel) * layout.channels + channel);
      }
#pragma unroll
      for (int k = 0; k < kUnrolled; ++k) {
        const std::int64_t pixel = first + static_cast<std::int64_t>(step + k) * layout.rows;
        if (pixel >= layout.pixels) break;
        C u[V];
        coefficients.argument(in, operands[k], u);
#pragma unroll
        for (int c = 0; c < V; ++c) u[c] = in.activated(u[c]) * coefficients.factor[c];
        store<V>(y + (image * layout.pixels + pixel) * layout.channels + channel, u);
      }
    }
  }
}

}  // namespace

template <class T>
void launch_channel_activation(const ArgumentPointers<T>& in, T* y, const Shape& shape, int multiprocessors,
                               cudaStream_t stream) {
  const auto launch = [&]<int V>(std::integral_constant<int, V>) {
    const ChannelLayout layout(shape[0], shape[1] * shape[2], shape[3], V, 16, multiprocessors);
    activation_kernel<T, V><<<layout.grid(), kChannelThreads, 0, stream>>>(in, y, layout);
  };
  if (shape[3] % kVector<T> == 0 && aligned(16, in.x, in.residual, y))
    launch(std::integral_constant<int, kVector<T>>{});
  else
    launch(std::integral_constant<int, 1>{});
  check_launch("channel_activation");
}

template void launch_channel_activation(const ArgumentPointers<float>&, float*, const Shape&, int,
                                        cudaStream_t);
template void launch_channel_activation(const ArgumentPointers<double>&, double*, const Shape&, int,
                                        cudaStream_t);
template void launch_channel_activation(const ArgumentPointers<BFloat16>&, BFloat16*, const Shape&, int,
                                        cudaStream_t);

/// y may be x: a thread reads an element before it writes it, and no other (conv_activation.cpp wants that).
void CudaBackend::channel_activation(const Activation& inputs, Out y) {
  const Ordered order(
      *this,
      {inputs.x, inputs.scale, inputs.bias, inputs.noise, inputs.strength, inputs.residual, inputs.factor},
      {y});
  if (y.shape.elements() == 0) return;
  dispatch_floating("cuda channel_activation", y.dtype, [&]<class T>(Type<T>) {
    launch_channel_activation(ArgumentPointers<T>(inputs), y.as<T>(), y.shape, multiprocessors_, stream_);
  });
}

}  // namespace om::cuda
