#include <cooperative_groups.h>

#include <algorithm>
#include <bit>
#include <optional>

#include "tensor/cuda/check.h"
#include "tensor/cuda/conv_small.h"

namespace om::cuda {
namespace {

namespace cg = cooperative_groups;

constexpr int kThreads = 256, kWarp = 32, kWarps = kThreads / kWarp;
constexpr int kCluster = 8;  // blocks that share the summed channels: the most that clusters have everywhere
constexpr int kColumnBits = 5, kColumns = 1 << kColumnBits;  // channels of the result that a cluster forms
constexpr int kMostTaps = 9, kMostPhases = 4;                // 3x3, stride 2
constexpr int kMostTiles = 8;                                // the pixels below make 6
constexpr int kDepth = 8;                                    // summed by one instruction: m16n8k8
// Floats from one row to the next in shared memory, so that a warp's 32 loads of a fragment lie in 32 banks:
// 8 rows of 4 summed channels want an odd multiple of 4, 4 rows of 8 of the result's channels want 8 mod 32.
constexpr int kPad = 4, kColumnRow = kColumns + 8;
constexpr std::int64_t kMostChannels = 4096, kMostSummed = 1024;
// Pixels of all images, of a forward convolution's result and of its source: the kernel takes 7 us at 16, 11
// at 64 and 29 at 256 where cuDNN takes 17 to 18 (512 to 512 channels, 3x3, weights from memory, H200), and
// 10 and 24 where cuDNN takes 26 for a transposed one from 16 and 64.
constexpr std::int64_t kMostPixels = 64, kMostSourcePixels = 320;

/// Pixels of the result that meet the same taps. Pixel (u, v) of a phase lies at (u, v) out_step + (y, x) of
/// the result; its tap t reads the source at (u, v) in_step + (dy, dx)[t] and weights of place weight[t].
struct Phase {
  int height, width, y, x, taps;
  int weight[kMostTaps], dy[kMostTaps], dx[kMostTaps];
};

/// Neighbouring pixels of a phase, counted over all images; blocks of one z form them.
struct Tile {
  int phase, first_row, rows;
  int first_line, lines;  // of the source, counted over all images, that they read
};

struct Product {
  const float *source, *weights;
  float* result;
  int images, source_height, source_width, sum_channels;
  int result_height, result_width, result_channels;
  int in_step, out_step, all_taps;
  int depth_bits;  // a block sums 1 << depth_bits channels
  int lines;       // of the source that a block keeps at most
  Phase phases[kMostPhases];
  Tile tiles[kMostTiles];
};

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900

__device__ __forceinline__ void copy_async(float* to, const float* from) {
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from));
}
__device__ __forceinline__ void commit() { asm volatile("cp.async.commit_group;"); }
template <int N>
__device__ __forceinline__ void wait_for_all_but() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N));
}

/// Four matrices of 8 rows of 16 bytes: a lane names one row's begin, those of matrix i in lanes 8 i to 8 i +
/// 7, and gets the float of row lane / 4 and place lane % 4 of each, as fragments of tf32 want them.
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], const float* row) {
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(address)
               : "memory");
}

/// Rounded to the nearest; the tensor cores would cut the bits off.
__device__ __forceinline__ unsigned tf32(unsigned bits) {
  unsigned rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(__uint_as_float(bits)));
  return rounded;
}

/// c += a b for a of 16 by 8 and b of 8 by 8.
__device__ __forceinline__ void multiply_add(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Asks for this block's part of a tile's source and of its weights: groups of copies in flight, a stage's
/// weights each, the source with the first. A thread copies 16 bytes of a row; as many threads as a row has
/// stand side by side.
template <bool Transposed, int Stages>
__device__ __forceinline__ void copy_operands(const Product& p, const Tile& tile, const Phase& phase,
                                              int rank, int first_column, float* pixels, float* weights) {
  const int thread = static_cast<int>(threadIdx.x);
  const int depth = 1 << p.depth_bits, pixel_row = depth + kPad;
  const int weight_row = Transposed ? kColumnRow : pixel_row, weight_rows = Transposed ? depth : kColumns;
  const int bits = Transposed ? kColumnBits - 2 : p.depth_bits - 2, chunk = (thread & ((1 << bits) - 1)) * 4;
  const int length = Transposed ? p.result_channels : p.sum_channels, tap_row = p.all_taps * length;
  const int begin = thread >> bits, step = kThreads >> bits;
  const float* const from =
      p.weights +
      (Transposed ? rank * depth * tap_row + first_column : first_column * tap_row + rank * depth) + chunk;
  const int pixel_bits = p.depth_bits - 2, pixel_chunk = (thread & ((1 << pixel_bits) - 1)) * 4;
  const float* const source =
      p.source + tile.first_line * p.source_width * p.sum_channels + rank * depth + pixel_chunk;
#pragma unroll 4
  for (int i = thread >> pixel_bits; i < tile.lines * p.source_width; i += kThreads >> pixel_bits)
    copy_async(pixels + i * pixel_row + pixel_chunk, source + i * p.sum_channels);
#pragma unroll
  for (int stage = 0; stage < Stages; ++stage) {
    for (int tap = phase.taps * stage / Stages; tap < phase.taps * (stage + 1) / Stages; ++tap) {
      const float* const tap_weights = from + phase.weight[tap] * length;
      float* const to = weights + tap * weight_rows * weight_row + chunk;
#pragma unroll 2
      for (int row = begin; row < weight_rows; row += step)
        copy_async(to + row * weight_row, tap_weights + row * tap_row);
    }
    commit();
  }
}

/// Finds for every row of a tile where the pixel begins that it reads for a tap, `zeros` outside the source,
/// and its pixel of the result, counted over all images.
template <int Rows>
__device__ __forceinline__ void place_rows(const Product& p, const Tile& tile, const Phase& phase,
                                           int pixel_row, int zeros, int (&places)[kMostTaps][Rows],
                                           int (&targets)[Rows]) {
  const int thread = static_cast<int>(threadIdx.x);
  const int place = thread % Rows, row = tile.first_row + place;
  const int line = row / phase.width, v = row - line * phase.width;
  const int image = line / phase.height, u = line - image * phase.height;
  for (int tap = thread / Rows; tap < phase.taps; tap += kThreads / Rows) {
    const int y = u * p.in_step + phase.dy[tap], x = v * p.in_step + phase.dx[tap];
    const bool inside = place < tile.rows && y >= 0 && y < p.source_height && x >= 0 && x < p.source_width;
    places[tap][place] =
        inside ? ((image * p.source_height + y - tile.first_line) * p.source_width + x) * pixel_row : zeros;
  }
  if (thread < Rows)
    targets[place] =
        (image * p.result_height + u * p.out_step + phase.y) * p.result_width + v * p.out_step + phase.x;
}

/// Adds the parts [Parts, Rows, kColumns] of a block's warps into the first.
template <int Rows, int Parts>
__device__ __forceinline__ void join_parts(float* joined) {
  for (int i = static_cast<int>(threadIdx.x); i < Rows * kColumns / 4; i += kThreads) {
    float* const at = joined + i / (kColumns / 4) * kColumnRow + i % (kColumns / 4) * 4;
    float4 sum = *reinterpret_cast<const float4*>(at);
#pragma unroll
    for (int other = 1; other < Parts; ++other) {
      const float4 more = *reinterpret_cast<const float4*>(at + other * Rows * kColumnRow);
      sum.x += more.x, sum.y += more.y, sum.z += more.z, sum.w += more.w;
    }
    *reinterpret_cast<float4*>(at) = sum;
  }
}

/// The activation of one sum, into its place of the result.
__device__ __forceinline__ void finish(const Product& p, const ArgumentPointers<float>& then, float sum,
                                       int pixel, int channel) {
  const int image = pixel / (p.result_height * p.result_width);
  const int element = pixel * p.result_channels + channel;
  ArgumentOperands<float, 1> operands;
  operands.x.element[0] = sum;
  operands.load_added(then, image, pixel - image * p.result_height * p.result_width, element);
  const Coefficients<float, 1> coefficients(then, image, channel);
  float u[1];
  coefficients.argument(then, operands, u);
  p.result[element] = then.activated(u[0]) * coefficients.factor[0];
}

#endif

/// Tiles: 16 M rows a warp, R warps one below the other; the other warps take their part of the sum.
/// Transposed: weights [sum, taps, result] (an input gradient's), else [result, taps, sum].
template <int M, int R, bool Transposed>
__global__ void __launch_bounds__(kThreads)
    small_kernel(const __grid_constant__ Product p, const __grid_constant__ ArgumentPointers<float> then) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  constexpr int kRows = 16 * M * R, kParts = kWarps / R;
  constexpr int kStages = 3;  // the weights are waited for in so many parts
  extern __shared__ __align__(16) float shared[];
  __shared__ int places[kMostTaps][kRows];  // where the pixel begins that a row reads for a tap
  __shared__ int targets[kRows];            // a row's pixel of the result, counted over all images
  const cg::cluster_group cluster = cg::this_cluster();
  const int rank = static_cast<int>(cluster.block_rank()), thread = static_cast<int>(threadIdx.x);
  const int first_column = static_cast<int>(blockIdx.y) * kColumns;
  const Tile& tile = p.tiles[blockIdx.z];
  const Phase& phase = p.phases[tile.phase];
  const int depth = 1 << p.depth_bits, pixel_row = depth + kPad;
  const int weight_row = Transposed ? kColumnRow : pixel_row;
  const int weight_rows = Transposed ? depth : kColumns;
  float *const pixels = shared, *const weights = shared + (p.lines * p.source_width + 1) * pixel_row;
  const int zeros = p.lines * p.source_width * pixel_row;  // a pixel of zeros, for what lies outside

  copy_operands<Transposed, kStages>(p, tile, phase, rank, first_column, pixels, weights);
  for (int i = thread; i < pixel_row; i += kThreads) pixels[zeros + i] = 0;
  place_rows(p, tile, phase, pixel_row, zeros, places, targets);

  const int lane = thread % kWarp, warp = thread / kWarp, part = warp / R;
  const int first = warp % R * M * 16;  // row of this warp
  float sums[M][kColumns / 8][4] = {};
  const int group = lane / 4, member = lane % 4;
  const int step_bits = p.depth_bits - 3;  // a tap has so many steps of kDepth
#pragma unroll
  for (int stage = 0; stage < kStages; ++stage) {
    if (stage == 0) wait_for_all_but<kStages - 1>();
    if (stage == 1) wait_for_all_but<kStages - 2>();
    if (stage == 2) wait_for_all_but<0>();
    __syncthreads();
    const int to = (phase.taps * (stage + 1) / kStages) << step_bits;
    for (int step = ((phase.taps * stage / kStages) << step_bits) + part; step < to; step += kParts) {
      const int tap = step >> step_bits, k = (step & ((1 << step_bits) - 1)) * kDepth;
      const float* const tap_weights = weights + tap * weight_rows * weight_row;
      // All loads before their first use: two warps a scheduler hide little.
      int at[M];
      unsigned a[M][4], b[kColumns / 8][2];
#pragma unroll
      for (int m = 0; m < M; ++m) at[m] = places[tap][first + m * 16 + lane % 16] + k + lane / 16 * 4;
      if constexpr (Transposed) {
        const float* const from = tap_weights + (k + member) * weight_row + group;
#pragma unroll
        for (int n = 0; n < kColumns / 8; ++n) {
          b[n][0] = __float_as_uint(from[n * 8]);
          b[n][1] = __float_as_uint(from[4 * weight_row + n * 8]);
        }
      } else {
        const float* const from =
            tap_weights + (lane / 16 * 8 + lane % 8) * weight_row + k + lane / 8 % 2 * 4;
#pragma unroll
        for (int n = 0; n < kColumns / 8; n += 2) {
          unsigned both[4];
          load_matrices(both, from + n * 8 * weight_row);
          b[n][0] = both[0], b[n][1] = both[1], b[n + 1][0] = both[2], b[n + 1][1] = both[3];
        }
      }
#pragma unroll
      for (int m = 0; m < M; ++m) load_matrices(a[m], pixels + at[m]);
#pragma unroll
      for (auto& column : b)
#pragma unroll
        for (unsigned& value : column) value = tf32(value);
#pragma unroll
      for (int m = 0; m < M; ++m) {
#pragma unroll
        for (unsigned& value : a[m]) value = tf32(value);
#pragma unroll
        for (int n = 0; n < kColumns / 8; ++n) multiply_add(sums[m][n], a[m], b[n]);
      }
    }
  }

  // The parts of one block, then those of the cluster's blocks, each result by the same thread in one order.
  __syncthreads();  // the weights' memory is the sums' now
  float* const joined = weights;
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int n = 0; n < kColumns / 8; ++n)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = part * kRows + first + m * 16 + group + half * 8;
        *reinterpret_cast<float2*>(joined + row * kColumnRow + n * 8 + member * 2) =
            make_float2(sums[m][n][2 * half], sums[m][n][2 * half + 1]);
      }
  __syncthreads();
  join_parts<kRows, kParts>(joined);
  cluster.sync();
  constexpr int kShare = kRows * kColumns / kCluster;
  for (int i = thread; i < kShare; i += kThreads) {
    const int row = (rank * kShare + i) / kColumns, column = (rank * kShare + i) % kColumns;
    float sum = 0;
#pragma unroll
    for (int other = 0; other < kCluster; ++other)
      sum += cluster.map_shared_rank(joined, other)[row * kColumnRow + column];
    if (row < tile.rows) finish(p, then, sum, targets[row], first_column + column);
  }
  cluster.sync();  // no block ends while another reads its sums
#else
  __trap();
#endif
}

/// The taps' geometry of a forward convolution: one phase.
void describe_forward(Product& p, const Shape& w, const Conv2dParams& params) {
  p.in_step = static_cast<int>(params.stride_h);
  p.out_step = 1;
  Phase& phase = p.phases[0];
  phase = {p.result_height, p.result_width, 0, 0, p.all_taps, {}, {}, {}};
  for (int tap = 0; tap < p.all_taps; ++tap) {
    phase.weight[tap] = tap;
    phase.dy[tap] = tap / static_cast<int>(w[2]) - static_cast<int>(params.pad_h);
    phase.dx[tap] = tap % static_cast<int>(w[2]) - static_cast<int>(params.pad_w);
  }
}

/// x(i) of an input gradient meets g(j) at the tap k where i = j stride - pad + k: for i = u stride + offset
/// the taps with (offset + pad - k) divisible by the stride, at j = u + (offset + pad - k) / stride.
/// Returns false where a pixel meets no tap.
bool describe_input_grad(Product& p, const Shape& w, const Conv2dParams& params) {
  const int stride = static_cast<int>(params.stride_h), pad_h = static_cast<int>(params.pad_h),
            pad_w = static_cast<int>(params.pad_w);
  p.in_step = 1;
  p.out_step = stride;
  for (int which = 0; which < stride * stride; ++which) {
    const int y = which / stride, x = which % stride;
    Phase& phase = p.phases[which];
    phase = {(p.result_height - y + stride - 1) / stride,
             (p.result_width - x + stride - 1) / stride,
             y,
             x,
             0,
             {},
             {},
             {}};
    for (int tap = 0; tap < p.all_taps; ++tap) {
      const int down = y + pad_h - tap / static_cast<int>(w[2]),
                right = x + pad_w - tap % static_cast<int>(w[2]);
      if (down % stride != 0 || right % stride != 0) continue;
      phase.weight[phase.taps] = tap;
      phase.dy[phase.taps] = down / stride;
      phase.dx[phase.taps++] = right / stride;
    }
    if (phase.taps == 0) return false;
  }
  return true;
}

/// How a convolution is launched.
struct Launch {
  Product product{};
  bool transposed = false;
  int rows = 16;  // of a tile
  int tiles = 0;
  std::size_t shared = 0;
};

/// The lines of the source that a tile reads, from its first pixel's topmost to its last one's lowest.
void take_lines(const Product& p, Tile& tile) {
  const Phase& phase = p.phases[tile.phase];
  const auto [above, below] = std::minmax_element(phase.dy, phase.dy + phase.taps);
  const auto line = [&](int row, int dy) {
    const int image = row / (phase.height * phase.width), u = row / phase.width % phase.height;
    return image * p.source_height + std::clamp(u * p.in_step + dy, 0, p.source_height - 1);
  };
  tile.first_line = line(tile.first_row, *above);
  tile.lines = line(tile.first_row + tile.rows - 1, *below) - tile.first_line + 1;
}

/// What the kernel keeps in shared memory of a fixed size: `places` and `targets`.
constexpr std::size_t places_bytes(int rows) {
  return sizeof(int) * static_cast<std::size_t>((kMostTaps + 1) * rows);
}

/// Cuts the phases into tiles and sums up what a block keeps in shared memory; false where it is too much.
bool lay_out(Launch& l, int phases, std::size_t most_shared) {
  Product& p = l.product;
  const auto rows_of = [&](int i) { return p.images * p.phases[i].height * p.phases[i].width; };
  int most_rows = 0, taps = 0;
  for (int i = 0; i < phases; ++i) {
    most_rows = std::max(most_rows, rows_of(i));
    taps = std::max(taps, p.phases[i].taps);
  }
  while (l.rows < most_rows && l.rows < 128) l.rows *= 2;
  for (int i = 0; i < phases; ++i)
    for (int first = 0; first < rows_of(i); first += l.rows) {
      if (l.tiles == kMostTiles) return false;
      Tile& tile = p.tiles[l.tiles++];
      tile = {i, first, std::min(l.rows, rows_of(i) - first), 0, 0};
      take_lines(p, tile);
      p.lines = std::max(p.lines, tile.lines);
    }
  const int depth = 1 << p.depth_bits, parts = l.rows > 64 ? kWarps / 2 : kWarps;
  const int weights = taps * (l.transposed ? depth * kColumnRow : kColumns * (depth + kPad));
  const int sums = parts * l.rows * kColumnRow;
  l.shared = sizeof(float) * static_cast<std::size_t>((p.lines * p.source_width + 1) * (depth + kPad) +
                                                      std::max(weights, sums));
  return l.tiles > 0 && l.shared + places_bytes(l.rows) <= most_shared;
}

/// Clusters came with compute capability 9.0; for older families the kernel is compiled without a body.
bool compiled_for(int capability) {
  for (const int family : {__CUDA_ARCH_LIST__})
    if (family >= 900 && family <= 10 * capability) return true;
  return false;
}

/// Nothing where the convolution is not a small one.
std::optional<Launch> launch_of(const CudaBackend& backend, const ConvArrays& arrays,
                                const Conv2dParams& params) {
  const bool transposed = arrays.kind == ConvKind::input_grad;
  if (arrays.dtype != DType::f32 || arrays.result != DType::f32 || params.math != Math::tf32) return {};
  if (arrays.kind == ConvKind::weight_grad || !compiled_for(backend.capability())) return {};
  const Shape &source = transposed ? arrays.y_shape : arrays.x_shape,
              &result = transposed ? arrays.x_shape : arrays.y_shape, &w = arrays.w_shape;
  const std::int64_t stride = params.stride_h, taps = w[1] * w[2];
  const auto pixels = [](const Shape& image) { return image[0] * image[1] * image[2]; };
  if (pixels(source) == 0 || pixels(result) == 0) return {};
  if (pixels(arrays.y_shape) > kMostPixels || pixels(arrays.x_shape) > kMostSourcePixels) return {};
  const std::int64_t sum = source[3];
  if (sum < kCluster * kDepth || sum > kMostSummed || !std::has_single_bit(static_cast<std::uint64_t>(sum)))
    return {};
  if (result[3] == 0 || result[3] % kColumns != 0 || result[3] > kMostChannels) return {};
  if (taps > kMostTaps || stride != params.stride_w || stride > 2) return {};
  if (!aligned(16, arrays.x, arrays.w, arrays.y)) return {};

  Launch l;
  l.transposed = transposed;
  Product& p = l.product;
  p.source = static_cast<const float*>(transposed ? arrays.y : arrays.x);
  p.weights = static_cast<const float*>(arrays.w);
  p.result = static_cast<float*>(transposed ? arrays.x : arrays.y);
  p.images = static_cast<int>(source[0]);
  p.source_height = static_cast<int>(source[1]), p.source_width = static_cast<int>(source[2]);
  p.sum_channels = static_cast<int>(sum);
  p.depth_bits = std::countr_zero(static_cast<std::uint64_t>(sum / kCluster));
  p.result_height = static_cast<int>(result[1]), p.result_width = static_cast<int>(result[2]);
  p.result_channels = static_cast<int>(result[3]);
  p.all_taps = static_cast<int>(taps);
  if (!transposed)
    describe_forward(p, w, params);
  else if (!describe_input_grad(p, w, params))
    return {};
  if (!lay_out(l, transposed ? static_cast<int>(stride * stride) : 1, backend.most_shared_memory()))
    return {};
  return l;
}

/// False where the card is cut so small that no cluster finds its multiprocessors.
template <int M, int R, bool Transposed>
bool start(const Launch& l, const ArgumentPointers<float>& then, CudaBackend& backend) {
  const auto kernel = small_kernel<M, R, Transposed>;
  // The same number whatever is launched: it belongs to the device, which other threads may use.
  const std::size_t most = backend.most_shared_memory() - places_bytes(16 * M * R);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(most)),
        "cudaFuncSetAttribute");
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {kCluster, 1, 1};
  cudaLaunchConfig_t how{};
  how.gridDim = dim3(kCluster, static_cast<unsigned>(l.product.result_channels / kColumns),
                     static_cast<unsigned>(l.tiles));
  how.blockDim = dim3(kThreads);
  how.dynamicSmemBytes = l.shared;
  how.stream = backend.stream();
  how.attrs = &cluster;
  how.numAttrs = 1;
  const cudaError_t status = cudaLaunchKernelEx(&how, kernel, l.product, then);
  if (status == cudaErrorInvalidClusterSize || status == cudaErrorLaunchOutOfResources) {
    cudaGetLastError();
    return false;
  }
  check(status, "convolution of a small image");
  return true;
}

template <bool Transposed>
bool start(const Launch& l, const ArgumentPointers<float>& then, CudaBackend& backend) {
  if (l.rows == 16) return start<1, 1, Transposed>(l, then, backend);
  if (l.rows == 32) return start<2, 1, Transposed>(l, then, backend);
  if constexpr (Transposed)  // a forward one's pixels are at most 64
    if (l.rows == 128) return start<4, 2, Transposed>(l, then, backend);
  return start<4, 1, Transposed>(l, then, backend);
}

}  // namespace

bool is_small_convolution(const CudaBackend& backend, const ConvArrays& arrays, const Conv2dParams& params) {
  return launch_of(backend, arrays, params).has_value();
}

bool small_convolution(CudaBackend& backend, const ConvArrays& arrays, const Conv2dParams& params,
                       const ArgumentPointers<float>& then) {
  const std::optional<Launch> l = launch_of(backend, arrays, params);
  return l && (l->transposed ? start<true>(*l, then, backend) : start<false>(*l, then, backend));
}

}  // namespace om::cuda
