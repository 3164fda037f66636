// The weight gradient by Winograd's transforms: dw = G^T [sum over pieces of (A g A^T) * (B^T x B)] G.
//
// A slice of the 4x4 pieces of g and the 6x6 pieces of x under them is transformed; then a task sums, over
// the slice, 36 products for a block of output channels and a range of input channels, and turns them into
// 3x3 weights. Slices are added in order.
#include <algorithm>

#include "tensor/cpu/gemm.h"
#include "tensor/cpu/winograd.h"

namespace om::cpu {
namespace {

constexpr std::int64_t kPad = 16;               // keeps planes and rows off power-of-two distances
constexpr std::int64_t kSliceBytes = 24 << 20;  // of both transforms together
constexpr std::int64_t kBlock = 48;             // output channels of a task
constexpr std::int64_t kChunk = 64;             // input channels of a task

/// 36 transformed planes [plane][piece][channels + kPad].
struct Transformed {
  const float* data;
  std::int64_t step, plane;
};

/// m[plane][o][i] = sum over `pieces` of g[plane][piece][o] x[plane][piece][i] for `outs` and `ins` channels.
void multiply_block(const Transformed& g, const Transformed& x, std::int64_t pieces, std::int64_t outs,
                    std::int64_t ins, float* m, std::int64_t m_plane, std::int64_t m_step) {
  const Kernels<float>& kernel = kernels<float>();
  const float* rows[kBlock];
  float* c[kBlock];
  for (std::int64_t i = 0; i < round_up(outs, kernel.rows); ++i) {
    rows[i] = g.data + std::min(i, outs - 1);
    c[i] = m + std::min(i, outs - 1) * m_step;
  }
  for (std::int64_t plane = 0; plane < 36; ++plane)
    for (std::int64_t column = 0; column < ins; column += kernel.columns)
      for (std::int64_t i = 0; i < outs; i += kernel.rows)
        kernel.multiply_tile({rows + i, 1, plane * g.plane, pieces, g.step, x.data + plane * x.plane + column,
                              x.step, c + i, plane * m_plane + column,
                              std::min<std::int64_t>(kernel.rows, outs - i),
                              std::min<std::int64_t>(kernel.columns, ins - column), false});
}

}  // namespace

bool winograd_pays_for_weights(const ConvSize& size) {
  return size.conv.stride_h == 1 && winograd_pays(size);
}

void winograd_weight_grad(CachingAllocator& memory, const float* x, const float* g, float* w,
                          const ConvSize& size) {
  const Pieces pieces{size.n, size.oh, size.ow, 4, 4};
  const std::int64_t x_step = size.i + kPad, g_step = size.o + kPad;
  const std::int64_t slice =
      std::min(pieces.count(), std::max(kBlock, kSliceBytes / (36 * 4 * (x_step + g_step))));
  const std::int64_t x_plane = slice * x_step + kPad, g_plane = slice * g_step + kPad;
  const std::int64_t m_step = kChunk + kPad, m_plane = kBlock * m_step + kPad, m_size = 36 * m_plane;
  const std::int64_t out_blocks = (size.o + kBlock - 1) / kBlock, in_chunks = (size.i + kChunk - 1) / kChunk;
  const int workers = threads();
  Scratch slices(memory, sizeof(float) * static_cast<std::size_t>(36 * (x_plane + g_plane)));
  Scratch own_memory(memory, sizeof(float) * static_cast<std::size_t>(m_size * workers));
  const auto image = Lattice<const float>::all(x, size.h, size.w, size.i);
  const auto gradient = Lattice<const float>::all(g, size.oh, size.ow, size.o);
  float* vx = slices.as<float>();
  float* vg = vx + 36 * x_plane;
  const std::vector<float> zeros(static_cast<std::size_t>(std::max(size.i, size.o)));

#pragma omp parallel num_threads(workers) if (workers > 1)
  {
    float* m = own_memory.as<float>() + omp_get_thread_num() * m_size;
    for (std::int64_t from = 0; from < pieces.count(); from += slice) {
      const std::int64_t here = std::min(slice, pieces.count() - from);
#pragma omp for schedule(static)
      for (std::int64_t t = 0; t < here; ++t) {
        const Pieces::Piece piece = pieces[from + t];
        const float* pixels[36];
        gradient.point(piece.image, piece.top, piece.left, 4, 4, zeros.data(), pixels);
        winograd_kernels().transform_gradient(pixels, size.o, vg + t * g_step, g_plane);
        image.point(piece.image, piece.top - size.conv.pad_h, piece.left - size.conv.pad_w, 6, 6,
                    zeros.data(), pixels);
        winograd_kernels().taps_3x3.transform_image(pixels, size.i, vx + t * x_step, x_plane);
      }
#pragma omp for schedule(dynamic)
      for (std::int64_t task = 0; task < out_blocks * in_chunks; ++task) {
        const std::int64_t out = task % out_blocks * kBlock, in = task / out_blocks * kChunk;
        const std::int64_t outs = std::min(kBlock, size.o - out), ins = std::min(kChunk, size.i - in);
        multiply_block({vg + out, g_step, g_plane}, {vx + in, x_step, x_plane}, here, outs, ins, m, m_plane,
                       m_step);
        for (std::int64_t o = 0; o < outs; ++o) {
          float* taps[9];
          for (std::int64_t tap = 0; tap < 9; ++tap) taps[tap] = w + ((out + o) * 9 + tap) * size.i + in;
          winograd_kernels().finish_weights(m + o * m_step, m_plane, ins, taps, from > 0);
        }
      }
    }
  }
}

}  // namespace om::cpu
