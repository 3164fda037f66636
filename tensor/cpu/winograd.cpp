// Winograd's convolution and its input gradient, which is the same convolution of g with flipped, transposed
// weights.
//
// Three steps for a slice of the result's 4x4 pieces at a time, small enough for the third-level cache:
// transform the image's 6x6 pieces (V [36, pieces, I]); 36 products with the transformed weights (U [36, I,
// O], in panels); transform back. A task of the second and third step is a range of output channels and a
// range of pieces, in blocks that stay in the second-level cache. Where all pieces are one slice, a task
// transforms its own weights, which then never go through memory.
#include "tensor/cpu/winograd.h"

#include <algorithm>

#include "tensor/cpu/gemm.h"

namespace om::cpu {
namespace {

constexpr std::int64_t kPad = 16;               // keeps planes and rows off power-of-two distances
constexpr std::int64_t kSliceBytes = 16 << 20;  // of V
constexpr std::int64_t kBlock = 48;             // pieces whose products stay in the second-level cache
constexpr std::int64_t kChunk = 64;             // output channels of a task
constexpr std::int64_t kSum =
    256;  // products in a row before the sum goes to memory: shorter sums, smaller errors
constexpr std::int64_t kWeightRows = 32;  // input channels whose weights are packed at a time

struct Problem {
  Pieces pieces;  ///< of the result
  std::int64_t image_h, image_w, pad_h, pad_w;
  std::int64_t in, out;  ///< channels
};

/// The transformed weights of panels [first, last): u[plane][panel][in][columns].
template <class PackTap>
void transform_panels(const Problem& p, const PackTap& pack_tap, std::int64_t first, std::int64_t last,
                      float* taps, float* u, std::int64_t plane) {
  const std::int64_t columns = kernels<float>().columns;
  for (std::int64_t panel = first; panel < last; ++panel)
    for (std::int64_t k = 0; k < p.in; k += kWeightRows) {
      const std::int64_t count = std::min(kWeightRows, p.in - k),
                         width = std::min(columns, p.out - panel * columns);
      for (std::int64_t tap = 0; tap < 9; ++tap)
        pack_tap(tap, k, count, panel * columns, width, taps + tap * kWeightRows * columns);
      winograd_kernels().transform_weights(taps, kWeightRows * columns, count * columns,
                                           u + ((panel - first) * p.in + k) * columns, plane);
    }
}

/// 36 products of `count` pieces with `panels` panels of weights: m[plane][piece][panel columns].
void multiply_block(const Problem& p, const float* v, std::int64_t v_plane, std::int64_t count,
                    const float* u, std::int64_t u_plane, std::int64_t panels, float* m, std::int64_t m_plane,
                    std::int64_t m_step) {
  const Kernels<float>& kernel = kernels<float>();
  const float* rows[kBlock];
  float* c[kBlock];
  const std::int64_t padded = round_up(count, kernel.rows);
  for (std::int64_t i = 0; i < padded; ++i) {
    rows[i] = v + std::min(i, count - 1) * (p.in + kPad);
    c[i] = m + std::min(i, count - 1) * m_step;
  }
  for (std::int64_t plane = 0; plane < 36; ++plane)
    for (std::int64_t panel = 0; panel < panels; ++panel)
      for (std::int64_t k = 0; k < p.in; k += kSum)
        for (std::int64_t i = 0; i < count; i += kernel.rows)
          kernel.multiply_tile({rows + i, 1, plane * v_plane + k, std::min(kSum, p.in - k), 1,
                                u + plane * u_plane + (panel * p.in + k) * kernel.columns, kernel.columns,
                                c + i, plane * m_plane + panel * kernel.columns,
                                static_cast<int>(std::min<std::int64_t>(kernel.rows, count - i)),
                                kernel.columns, k > 0});
}

template <class PackTap>
void convolve(CachingAllocator& memory, const Problem& p, const float* image, const PackTap& pack_tap,
              float* result) {
  const std::int64_t columns = kernels<float>().columns, panels = (p.out + columns - 1) / columns;
  const std::int64_t pieces = p.pieces.count();
  const std::int64_t v_step = p.in + kPad;
  const std::int64_t most = std::max(kBlock, kSliceBytes / (36 * 4 * v_step) / kBlock * kBlock);
  const std::int64_t slice = std::min(pieces, most), v_plane = slice * v_step + kPad;
  const std::int64_t chunk = std::max<std::int64_t>(1, kChunk / columns);  // in panels
  const std::int64_t chunks = (panels + chunk - 1) / chunk;
  const bool own_weights = slice == pieces && chunks >= 8;
  const std::int64_t u_panels = own_weights ? chunk : panels, u_plane = u_panels * p.in * columns + kPad;
  const std::int64_t m_step = chunk * columns + kPad, m_plane = kBlock * m_step + kPad;
  const std::int64_t blocks = (slice + kBlock - 1) / kBlock;
  // Blocks of pieces are dealt to `groups` tasks a chunk.
  const std::int64_t groups = own_weights ? 1 : std::clamp<std::int64_t>(32 / chunks, 1, blocks);
  const int workers = threads();

  const std::int64_t taps_size = 9 * kWeightRows * columns, u_size = 36 * u_plane, m_size = 36 * m_plane;
  const std::int64_t own_size = taps_size + m_size + (own_weights ? u_size : 0);
  Scratch v_memory(memory, sizeof(float) * static_cast<std::size_t>(36 * v_plane));
  Scratch u_memory(memory, own_weights ? 0 : sizeof(float) * static_cast<std::size_t>(u_size));
  Scratch own_memory(memory, sizeof(float) * static_cast<std::size_t>(own_size * workers));
  float* v = v_memory.as<float>();
  const std::vector<float> zeros(static_cast<std::size_t>(p.in));

#pragma omp parallel num_threads(workers) if (workers > 1)
  {
    float* taps = own_memory.as<float>() + omp_get_thread_num() * own_size;
    float* m = taps + taps_size;
    float* u = own_weights ? m + m_size : u_memory.as<float>();
    if (!own_weights) {
#pragma omp for schedule(dynamic) nowait
      for (std::int64_t panel = 0; panel < panels; ++panel)
        transform_panels(p, pack_tap, panel, panel + 1, taps, u + panel * p.in * columns, u_plane);
    }
    for (std::int64_t from = 0; from < pieces; from += slice) {
      const std::int64_t here = std::min(slice, pieces - from);
#pragma omp for schedule(static)
      for (std::int64_t t = 0; t < here; ++t) {
        Pieces::Piece piece = p.pieces[from + t];
        piece.top -= p.pad_h;
        piece.left -= p.pad_w;
        const float* pixels[36];
        point_to_pixels(image, p.image_h, p.image_w, p.in, piece, 6, zeros.data(), pixels);
        winograd_kernels().transform_image(pixels, p.in, v + t * v_step, v_plane);
      }
#pragma omp for schedule(dynamic)
      for (std::int64_t task = 0; task < chunks * groups; ++task) {
        const std::int64_t panel = task / groups * chunk, panels_here = std::min(chunk, panels - panel);
        if (own_weights) transform_panels(p, pack_tap, panel, panel + panels_here, taps, u, u_plane);
        const float* weights = own_weights ? u : u + panel * p.in * columns;
        const std::int64_t channel = panel * columns,
                           channels = std::min(panels_here * columns, p.out - channel);
        for (std::int64_t start = task % groups * kBlock; start < here; start += groups * kBlock) {
          const std::int64_t count = std::min(kBlock, here - start);
          multiply_block(p, v + start * v_step, v_plane, count, weights, u_plane, panels_here, m, m_plane,
                         m_step);
          for (std::int64_t t = 0; t < count; ++t) {
            float* pixels[16];
            point_to_pixels(result + channel, p.pieces.h, p.pieces.w, p.out, p.pieces[from + start + t], 4,
                            static_cast<float*>(nullptr), pixels);
            winograd_kernels().finish_pixels(m + t * m_step, m_plane, channels, pixels);
          }
        }
      }
    }
  }
}

}  // namespace

bool winograd_pays(const ConvSize& size) {
  const Pieces pieces{size.n, size.oh, size.ow};
  return size.kh == 3 && size.kw == 3 && size.conv.stride_h == 1 && size.conv.stride_w == 1 &&
         size.conv.pad_h <= 2 && size.conv.pad_w <= 2 && size.i >= 32 && size.o >= 32 &&
         size.i % kWinogradChannels == 0 && size.o % kWinogradChannels == 0 && pieces.count() >= 16 &&
         size.n * size.oh * size.ow >= 8 * pieces.count();  // else most of a piece lies outside
}

void winograd_conv2d(CachingAllocator& memory, const float* x, const float* w, float* y,
                     const ConvSize& size) {
  const auto pack = [&](std::int64_t tap, std::int64_t first, std::int64_t count, std::int64_t column,
                        std::int64_t width, float* panel) {
    kernels<float>().pack_transposed(w + (column * 9 + tap) * size.i + first, 9 * size.i, count, width,
                                     panel);
  };
  const Problem problem{
      {size.n, size.oh, size.ow}, size.h, size.w, size.conv.pad_h, size.conv.pad_w, size.i, size.o};
  convolve(memory, problem, x, pack, y);
}

void winograd_input_grad(CachingAllocator& memory, const float* g, const float* w, float* x,
                         const ConvSize& size) {
  const auto pack = [&](std::int64_t tap, std::int64_t first, std::int64_t count, std::int64_t column,
                        std::int64_t width, float* panel) {
    kernels<float>().pack_rows(w + (first * 9 + 8 - tap) * size.i + column, 9 * size.i, count, width, panel);
  };
  const Problem problem{{size.n, size.h, size.w}, size.oh, size.ow, 2 - size.conv.pad_h,
                        2 - size.conv.pad_w,      size.o,  size.i};
  convolve(memory, problem, g, pack, x);
}

}  // namespace om::cpu
