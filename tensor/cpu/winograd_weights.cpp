// The weight gradient by Winograd's transforms: dw = G^T [sum over pieces of (A g A^T) * (B^T x B)] G.
//
// A slice of the pieces of g and of those of x under them is transformed (4x4 and 6x6 pixels for stride 1,
// 5x5 and up to 6x6 of every part of x for stride 2); then a task sums, over the slice, a product a plane for
// a block of output channels and a range of the input channels of a part, and turns them into weights.
// Slices are added in order.
#include <algorithm>

#include "tensor/cpu/winograd.h"
#include "tensor/cpu/winograd_products.h"

namespace om::cpu {
namespace {

constexpr std::int64_t kPad = 16;               // keeps planes off power-of-two distances
constexpr std::int64_t kSliceBytes = 24 << 20;  // of both transforms together
constexpr std::int64_t kBlock = 48;             // output channels of a task
constexpr std::int64_t kChunk = 64;             // input channels of a task
constexpr std::int64_t kSum = 256;              // pieces in a row before the sum goes to memory

/// Transformed planes [plane][group of channels][piece][width], so that a product reads them in order.
struct Transformed {
  Transformed(std::int64_t channels, std::int64_t pieces, std::int64_t group_width, std::int64_t planes)
      : width(group_width),
        groups((channels + width - 1) / width),
        group(pieces * width),
        plane(groups * group + kPad),
        size(planes * plane) {}

  const float* at(std::int64_t channel) const { return data + channel / width * group + channel % width; }
  /// transform(pixels, channels, v, plane) on the channels of every group in turn.
  template <class Transform>
  void fill(const Transform& transform, std::int64_t channels, std::int64_t first_group, std::int64_t piece,
            std::int64_t count, const float** pixels) const {
    float* to = data + first_group * group + piece * width;
    for (std::int64_t c = 0; c < channels; c += width, to += group) {
      transform(pixels, std::min(width, channels - c), to, plane);
      for (std::int64_t i = 0; i < count; ++i) pixels[i] += width;
    }
  }

  std::int64_t width, groups, group, plane, size;
  float* data = nullptr;
};

/// m[plane][o][i] = sum over `pieces` of g[plane][o] x[plane][i] for `outs` channels from `out` and `ins`
/// from group `first` on, for the planes of a scheme.
void multiply_block(const WinogradScheme& scheme, std::int64_t pieces, const Transformed& g, std::int64_t out,
                    std::int64_t outs, const Transformed& x, std::int64_t first, std::int64_t ins, float* m,
                    std::int64_t m_plane, std::int64_t m_step) {
  WinogradProducts products(
      outs, g.width, true, [&](std::int64_t t) { return g.at(out + t); },
      [&](std::int64_t t) { return m + t * m_step; });
  for (int i = 0; i < scheme.in_h; ++i)
    for (int j = 0; j < scheme.in_w; ++j) {
      const std::int64_t plane = scheme.side * i + j;
      for (std::int64_t k = 0; k < pieces; k += kSum)
        for (std::int64_t c = 0; c < ins; c += x.width)
          products.push({x.at(first * x.width + c) + plane * x.plane + k * x.width,
                         plane * g.plane + k * g.width, std::min(kSum, pieces - k), plane * m_plane + c,
                         std::min(x.width, ins - c), k > 0});
    }
  products.run();
}

}  // namespace

void winograd_weight_grad(CachingAllocator& memory, const float* x, const float* g, float* w,
                          const ConvSize& size) {
  const WinogradKernels& all = winograd_kernels();
  const WinogradScheme& whole = size.conv.stride_h == 1 ? all.three : all.together[1][1];
  const auto parts = parts_of_image(x, size, true);
  const auto gradient = Lattice<const float>::all(g, size.oh, size.ow, size.o);
  const Pieces pieces{size.n, size.oh, size.ow, whole.out_h, whole.out_w};
  const auto parts_count = static_cast<std::int64_t>(parts.size());
  const std::int64_t columns = kernels<float>().columns, panels = (size.i + columns - 1) / columns;
  const std::int64_t bytes =
      whole.planes * static_cast<std::int64_t>(sizeof(float)) * (parts_count * panels * columns + size.o);
  const std::int64_t slice = std::min(pieces.count(), std::max<std::int64_t>(kBlock, kSliceBytes / bytes));
  Transformed vx(parts_count * panels * columns, slice, columns, whole.planes),
      vg(size.o, slice, kWinogradChannels, whole.planes);
  const std::int64_t m_step = kChunk + kPad, m_plane = kBlock * m_step + kPad,
                     m_size = whole.planes * m_plane;
  const std::int64_t out_blocks = (size.o + kBlock - 1) / kBlock, in_chunks = (size.i + kChunk - 1) / kChunk;
  const int workers =
      winograd_threads(GemmSize{size.o, parts_count * size.i, whole.planes, pieces.count()}.flops());
  Scratch slices(memory, sizeof(float) * static_cast<std::size_t>(vx.size + vg.size));
  Scratch own_memory(memory, sizeof(float) * static_cast<std::size_t>(m_size * workers));
  vx.data = slices.as<float>();
  vg.data = vx.data + vx.size;
  const std::vector<float> zeros(static_cast<std::size_t>(std::max(size.i, size.o) + columns));

  for (std::int64_t from = 0; from < pieces.count(); from += slice) {
    const std::int64_t here = std::min(slice, pieces.count() - from);
    parallel_pieces(workers, here, [&](std::int64_t t) {
      const Pieces::Piece piece = pieces[from + t];
      const float* pixels[kMostPlanes];
      gradient.point(piece.image, piece.top, piece.left, whole.out_h, whole.out_w, zeros.data(), pixels);
      vg.fill(whole.transform_gradient, size.o, 0, t, whole.out_h * whole.out_w, pixels);
      for (std::int64_t q = 0; q < parts_count; ++q) {
        const auto& part = parts[static_cast<std::size_t>(q)];
        const WinogradScheme& scheme = *part.taps.scheme;
        part.point(piece, scheme.in_h, scheme.in_w, zeros.data(), pixels);
        vx.fill(scheme.transform_image, size.i, q * panels, t, scheme.in_h * scheme.in_w, pixels);
      }
    });
    parallel_for(workers, out_blocks * in_chunks * parts_count, [&](std::int64_t task, int member) {
      const std::int64_t out = task % out_blocks * kBlock, in = task / out_blocks % in_chunks * kChunk,
                         part = task / out_blocks / in_chunks;
      const std::int64_t outs = std::min(kBlock, size.o - out), ins = std::min(kChunk, size.i - in);
      const WinogradTaps& taps = parts[static_cast<std::size_t>(part)].taps;
      const WinogradScheme& scheme = *taps.scheme;
      float* m = own_memory.as<float>() + member * m_size;
      multiply_block(scheme, here, vg, out, outs, vx, part * panels + in / columns, ins, m, m_plane, m_step);
      for (std::int64_t o = 0; o < outs; ++o) {
        float* weights[9];
        for (int r = 0; r < scheme.taps_h; ++r)
          for (int s = 0; s < scheme.taps_w; ++s)
            weights[scheme.taps_w * r + s] = w + ((out + o) * 9 + taps.number(r, s)) * size.i + in;
        scheme.finish_weights(m + o * m_step, m_plane, ins, weights, from > 0);
      }
    });
  }
}

}  // namespace om::cpu
