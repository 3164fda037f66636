// How the channel kernels share an image's elements: a thread keeps V neighbouring channels and walks over
// pixels, so that coefficients and running sums stay in registers; the threads of a block stand side by side
// over the channels, then over pixels. A chunk is the pixels that a block walks.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tensor/backend.h"
#include "tensor/cuda/vector.h"

namespace om::cuda {

constexpr int kChannelThreads = 256;

struct ChannelLayout {
  std::int64_t images, pixels, channels;
  int groups;        // of V channels, all of them
  int block_groups;  // in one block
  int rows;          // pixels that a block walks at once
  int steps;         // pixels a thread walks
  int chunks;        // per image

  /// `images` as one image of all pixels where they need not be told apart.
  ChannelLayout(std::int64_t images_, std::int64_t pixels_, std::int64_t channels_, int v, int most_steps,
                int multiprocessors)
      : images(images_), pixels(pixels_), channels(channels_) {
    groups = static_cast<int>(channels / v);
    block_groups = std::max(1, std::min(groups, kChannelThreads));
    rows = kChannelThreads / block_groups;
    steps = most_steps;
    const auto blocks = [&] { return images * group_blocks() * chunks_of(steps); };
    while (steps > 4 && blocks() < 4 * multiprocessors) steps /= 2;
    chunks = static_cast<int>(chunks_of(steps));
  }

  std::int64_t group_blocks() const { return (groups + block_groups - 1) / block_groups; }
  std::int64_t chunks_of(int per_thread) const {
    const std::int64_t chunk = static_cast<std::int64_t>(rows) * per_thread;
    return (pixels + chunk - 1) / chunk;
  }
  constexpr std::int64_t work() const { return images * chunks; }

#ifdef __CUDACC__
  /// One block an image's chunk and group block; beyond the grid's limit blocks take several.
  dim3 grid() const {
    return {static_cast<unsigned>(std::min<std::int64_t>(work(), 1 << 30)),
            static_cast<unsigned>(group_blocks())};
  }
#endif
};

/// A coefficient per channel: at(image) points at its C values, null where there is none.
template <class C>
struct Coefficient {
  const C* data = nullptr;
  std::int64_t step = 0;  // between images

  Coefficient() = default;
  explicit Coefficient(const In& in)
      : data(in.as<C>()), step(in.data != nullptr && in.shape[0] > 1 ? in.shape[3] : 0) {}
#ifdef __CUDACC__
  /// V neighbours; where V > 1 the channels are a multiple of it, so that groups of 16 bytes are aligned.
  template <int V>
  __device__ __forceinline__ void load(std::int64_t image, std::int64_t channel, C absent,
                                       C (&values)[V]) const {
    if (data == nullptr) {
#pragma unroll
      for (int k = 0; k < V; ++k) values[k] = absent;
      return;
    }
    const C* const from = data + image * step + channel;
    constexpr int kAtOnce = V < kVector<C> ? V : kVector<C>;
#pragma unroll
    for (int k = 0; k < V; k += kAtOnce) {
      const auto packed = *reinterpret_cast<const Packed<C, kAtOnce>*>(from + k);
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) values[k + i] = packed.element[i];
    }
  }
#endif
};

/// A value per pixel, shared by the images or not.
template <class C>
struct PixelMap {
  const C* data = nullptr;
  std::int64_t step = 0;

  PixelMap() = default;
  explicit PixelMap(const In& in)
      : data(in.as<C>()), step(in.data != nullptr && in.shape[0] > 1 ? in.shape[1] * in.shape[2] : 0) {}
};

}  // namespace om::cuda
