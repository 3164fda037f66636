// Winograd's convolutions and their input gradients.
//
// Stride 1: the input gradient is a convolution of g with flipped, transposed weights. Stride 2: rows and
// columns of x are even or odd, and each of the four combinations is a convolution with stride 1 of its own,
// with 2x2, 2x1, 1x2 or 1x1 taps: conv2d adds up those of the four parts of x, the input gradient computes
// the four parts of x.
//
// Three steps for a slice of the result's pieces at a time, small enough for the third-level cache: transform
// the image under the pieces (V [planes, pieces, in]); one product a plane with the transformed weights (U
// [planes, in, out], in panels); transform back. A task of the second and third step is a range of output
// channels and a range of pieces, in blocks that stay in the second-level cache. Where all pieces are one
// slice, a task transforms its own weights, which then never go through memory.
#include "tensor/cpu/winograd.h"

#include <algorithm>

#include "tensor/cpu/gemm.h"

namespace om::cpu {
namespace {

constexpr std::int64_t kPad = 16;               // keeps planes and rows off power-of-two distances
constexpr std::int64_t kSliceBytes = 16 << 20;  // of V
// With few channels the transforms weigh more, and V had better stay close to the threads. Slices do not
// change any sum, so they may depend on the number of threads.
constexpr std::int64_t kFewChannels = 128, kThreadBytes = 2 << 20;
constexpr std::int64_t kBlockRows =
    48 * 36;                              // pieces times planes whose products stay in the second-level cache
constexpr std::int64_t kMostBlock = 288;  // pieces of a block
constexpr std::int64_t kChunk = 64;       // output channels of a task
constexpr std::int64_t kSum =
    256;  // products in a row before the sum goes to memory: shorter sums, smaller errors
constexpr std::int64_t kWeightRows = 32;  // input channels whose weights are packed at a time

struct Problem {
  const WinogradScheme& scheme;
  std::int64_t n;
  Lattice<const float> image;
  std::int64_t pad_h, pad_w;  ///< result (0, 0) begins this far before the image
  Lattice<float> result;
  bool add;

  std::int64_t in() const { return image.channels; }
  std::int64_t out() const { return result.channels; }
  Pieces pieces() const { return {n, result.count_h, result.count_w, scheme.out_h, scheme.out_w}; }
};

/// The transformed weights of panels [first, last): u[plane][panel][in][columns].
template <class PackTap>
void transform_panels(const Problem& p, const PackTap& pack_tap, std::int64_t first, std::int64_t last,
                      float* taps, float* u, std::int64_t plane) {
  const std::int64_t columns = kernels<float>().columns;
  for (std::int64_t panel = first; panel < last; ++panel)
    for (std::int64_t k = 0; k < p.in(); k += kWeightRows) {
      const std::int64_t count = std::min(kWeightRows, p.in() - k),
                         width = std::min(columns, p.out() - panel * columns);
      for (std::int64_t tap = 0; tap < p.scheme.taps_h * p.scheme.taps_w; ++tap)
        pack_tap(tap, k, count, panel * columns, width, taps + tap * kWeightRows * columns);
      p.scheme.transform_weights(taps, kWeightRows * columns, count * columns,
                                 u + ((panel - first) * p.in() + k) * columns, plane);
    }
}

/// The products of `count` pieces with `panels` panels of weights: m[plane][piece][panel columns].
void multiply_block(const Problem& p, const float* v, std::int64_t v_plane, std::int64_t count,
                    const float* u, std::int64_t u_plane, std::int64_t panels, float* m, std::int64_t m_plane,
                    std::int64_t m_step) {
  const Kernels<float>& kernel = kernels<float>();
  const float* rows[kMostBlock];
  float* c[kMostBlock];
  for (std::int64_t i = 0; i < round_up(count, kernel.rows); ++i) {
    rows[i] = v + std::min(i, count - 1) * (p.in() + kPad);
    c[i] = m + std::min(i, count - 1) * m_step;
  }
  for (std::int64_t plane = 0; plane < p.scheme.planes(); ++plane)
    for (std::int64_t panel = 0; panel < panels; ++panel)
      for (std::int64_t k = 0; k < p.in(); k += kSum)
        for (std::int64_t i = 0; i < count; i += kernel.rows)
          kernel.multiply_tile({rows + i, 1, plane * v_plane + k, std::min(kSum, p.in() - k), 1,
                                u + plane * u_plane + (panel * p.in() + k) * kernel.columns, kernel.columns,
                                c + i, plane * m_plane + panel * kernel.columns,
                                std::min<std::int64_t>(kernel.rows, count - i), kernel.columns, k > 0});
}

/// pack_tap(tap, first, count, column, width, panel) packs weights [count inputs from `first`, width outputs
/// from `column`] of a tap.
template <class PackTap>
void convolve(CachingAllocator& memory, const Problem& p, const PackTap& pack_tap) {
  const WinogradScheme& scheme = p.scheme;
  const Pieces pieces = p.pieces();
  if (pieces.count() == 0) return;
  const std::int64_t planes = scheme.planes();
  const std::int64_t columns = kernels<float>().columns, panels = (p.out() + columns - 1) / columns;
  const std::int64_t block = std::min(kMostBlock, kBlockRows / planes);  // a multiple of every kernel's rows
  const std::int64_t v_step = p.in() + kPad;
  const int workers = threads();
  const std::int64_t bytes =
      p.in() <= kFewChannels ? std::min(kSliceBytes, workers * kThreadBytes) : kSliceBytes;
  const std::int64_t most = std::max(block, bytes / (planes * 4 * v_step) / block * block);
  const std::int64_t slice = std::min(pieces.count(), most), v_plane = slice * v_step + kPad;
  const std::int64_t chunk = std::max<std::int64_t>(1, kChunk / columns);  // in panels
  const std::int64_t chunks = (panels + chunk - 1) / chunk;
  const bool own_weights = slice == pieces.count() && chunks >= 8;
  const std::int64_t u_panels = own_weights ? chunk : panels, u_plane = u_panels * p.in() * columns + kPad;
  const std::int64_t m_step = chunk * columns + kPad, m_plane = block * m_step + kPad;
  const std::int64_t blocks = (slice + block - 1) / block;
  // Blocks of pieces are dealt to `groups` tasks a chunk.
  const std::int64_t groups = own_weights ? 1 : std::clamp<std::int64_t>(32 / chunks, 1, blocks);

  const std::int64_t taps_size = scheme.taps_h * scheme.taps_w * kWeightRows * columns;
  const std::int64_t u_size = planes * u_plane, m_size = planes * m_plane;
  const std::int64_t own_size = taps_size + m_size + (own_weights ? u_size : 0);
  Scratch v_memory(memory, sizeof(float) * static_cast<std::size_t>(planes * v_plane));
  Scratch u_memory(memory, own_weights ? 0 : sizeof(float) * static_cast<std::size_t>(u_size));
  Scratch own_memory(memory, sizeof(float) * static_cast<std::size_t>(own_size * workers));
  float* v = v_memory.as<float>();
  const std::vector<float> zeros(static_cast<std::size_t>(p.in()));

#pragma omp parallel num_threads(workers) if (workers > 1)
  {
    float* taps = own_memory.as<float>() + omp_get_thread_num() * own_size;
    float* m = taps + taps_size;
    float* u = own_weights ? m + m_size : u_memory.as<float>();
    if (!own_weights) {
#pragma omp for schedule(dynamic) nowait
      for (std::int64_t panel = 0; panel < panels; ++panel)
        transform_panels(p, pack_tap, panel, panel + 1, taps, u + panel * p.in() * columns, u_plane);
    }
    for (std::int64_t from = 0; from < pieces.count(); from += slice) {
      const std::int64_t here = std::min(slice, pieces.count() - from);
#pragma omp for schedule(static)
      for (std::int64_t t = 0; t < here; ++t) {
        const Pieces::Piece piece = pieces[from + t];
        const float* pixels[36];
        p.image.point(piece.image, piece.top - p.pad_h, piece.left - p.pad_w, scheme.in_h, scheme.in_w,
                      zeros.data(), pixels);
        scheme.transform_image(pixels, p.in(), v + t * v_step, v_plane);
      }
#pragma omp for schedule(dynamic)
      for (std::int64_t task = 0; task < chunks * groups; ++task) {
        const std::int64_t panel = task / groups * chunk, panels_here = std::min(chunk, panels - panel);
        if (own_weights) transform_panels(p, pack_tap, panel, panel + panels_here, taps, u, u_plane);
        const float* weights = own_weights ? u : u + panel * p.in() * columns;
        const std::int64_t channel = panel * columns,
                           channels = std::min(panels_here * columns, p.out() - channel);
        Lattice<float> result = p.result;
        result.data += channel;
        for (std::int64_t start = task % groups * block; start < here; start += groups * block) {
          const std::int64_t count = std::min(block, here - start);
          multiply_block(p, v + start * v_step, v_plane, count, weights, u_plane, panels_here, m, m_plane,
                         m_step);
          for (std::int64_t t = 0; t < count; ++t) {
            const Pieces::Piece piece = pieces[from + start + t];
            float* pixels[36];
            result.point(piece.image, piece.top, piece.left, scheme.out_h, scheme.out_w, nullptr, pixels);
            scheme.finish_pixels(m + t * m_step, m_plane, channels, pixels, p.add);
          }
        }
      }
    }
  }
}

/// Of stride 2: the scheme for phases with these taps (1 or 2); 1x1 has none.
const WinogradScheme& scheme_of(std::int64_t taps_h, std::int64_t taps_w) {
  const WinogradKernels& all = winograd_kernels();
  return taps_h == 1 ? all.taps_1x2 : taps_w == 1 ? all.taps_2x1 : all.taps_2x2;
}

}  // namespace

bool winograd_pays(const ConvSize& size) {
  const std::int64_t pixels = size.n * size.oh * size.ow, stride = size.conv.stride_h;
  return size.kh == 3 && size.kw == 3 && stride <= 2 && size.conv.stride_w == stride &&
         size.conv.pad_h <= 2 && size.conv.pad_w <= 2 && size.i >= 32 && size.o >= 32 &&
         size.i % kWinogradChannels == 0 && size.o % kWinogradChannels == 0 &&
         pixels >= (stride == 1 ? 200 : 512) && size.oh >= 4 && size.ow >= 4;
}

void winograd_conv2d(CachingAllocator& memory, const float* x, const float* w, float* y,
                     const ConvSize& size) {
  const auto result = Lattice<float>::all(y, size.oh, size.ow, size.o);
  const auto packer = [&](auto number) {
    return [&, number](std::int64_t tap, std::int64_t first, std::int64_t count, std::int64_t column,
                       std::int64_t width, float* panel) {
      kernels<float>().pack_transposed(w + (column * 9 + number(tap)) * size.i + first, 9 * size.i, count,
                                       width, panel);
    };
  };
  if (size.conv.stride_h == 1) {
    const auto image = Lattice<const float>::all(x, size.h, size.w, size.i);
    return convolve(
        memory, {winograd_kernels().taps_3x3, size.n, image, size.conv.pad_h, size.conv.pad_w, result, false},
        packer([](std::int64_t tap) { return tap; }));
  }
  // The one tap of the odd rows and columns assigns, the others add.
  const Tap tap{1, 1, 4};
  const std::vector<float> zeros(static_cast<std::size_t>(size.i));
  const ImageRows<float> rows{x,       size.h,           size.w,           size.i, size.oh,
                              size.ow, -size.conv.pad_h, -size.conv.pad_w, 2,      2,
                              &tap,    zeros.data()};
  gemm<float>(memory, {size.n * size.oh * size.ow, size.o, 1, size.i}, rows,
              packer([](std::int64_t) { return std::int64_t{4}; }), matrix_c(y, size.o));
  for (const std::int64_t a : {0, 1})
    for (const std::int64_t b : {0, 1}) {
      if (a == 1 && b == 1) continue;
      const std::int64_t taps_w = 2 - b;
      const Phase h(a, 2, size.conv.pad_h, size.h), v(b, 2, size.conv.pad_w, size.w);
      const Lattice<const float> image{x, size.h, size.w, size.i, h.first, v.first, h.count, v.count, 2};
      convolve(memory, {scheme_of(2 - a, taps_w), size.n, image, h.origin, v.origin, result, true},
               packer([=](std::int64_t number) {
                 return (a + 2 * (number / taps_w)) * 3 + b + 2 * (number % taps_w);
               }));
    }
}

void winograd_input_grad(CachingAllocator& memory, const float* g, const float* w, float* x,
                         const ConvSize& size) {
  const auto image = Lattice<const float>::all(g, size.oh, size.ow, size.o);
  const auto packer = [&](auto number) {
    return [&, number](std::int64_t tap, std::int64_t first, std::int64_t count, std::int64_t column,
                       std::int64_t width, float* panel) {
      kernels<float>().pack_rows(w + (first * 9 + number(tap)) * size.i + column, 9 * size.i, count, width,
                                 panel);
    };
  };
  if (size.conv.stride_h == 1)
    return convolve(memory,
                    {winograd_kernels().taps_3x3, size.n, image, 2 - size.conv.pad_h, 2 - size.conv.pad_w,
                     Lattice<float>::all(x, size.h, size.w, size.i), false},
                    packer([](std::int64_t tap) { return 8 - tap; }));
  for (const std::int64_t a : {0, 1})
    for (const std::int64_t b : {0, 1}) {
      const std::int64_t taps_h = 2 - a, taps_w = 2 - b;
      const Phase h(a, 2, size.conv.pad_h, size.h), v(b, 2, size.conv.pad_w, size.w);
      if (h.count == 0 || v.count == 0) continue;
      if (a == 1 && b == 1) {
        const Tap tap{0, 0, 4};
        const std::vector<float> zeros(static_cast<std::size_t>(size.o));
        const ImageRows<float> rows{g,        size.oh,  size.ow, size.o, h.count, v.count,
                                    h.origin, v.origin, 1,       1,      &tap,    zeros.data()};
        gemm<float>(memory, {size.n * h.count * v.count, size.i, 1, size.o}, rows,
                    packer([](std::int64_t) { return std::int64_t{4}; }), phase_c(x, size, h, v));
        continue;
      }
      const Lattice<float> result{x, size.h, size.w, size.i, h.first, v.first, h.count, v.count, 2};
      convolve(memory,
               {scheme_of(taps_h, taps_w), size.n, image, taps_h - 1 - h.origin, taps_w - 1 - v.origin,
                result, false},
               packer([=](std::int64_t number) {  // backwards: tap j meets g number a + origin - j
                 return (a + 2 * (taps_h - 1 - number / taps_w)) * 3 + b + 2 * (taps_w - 1 - number % taps_w);
               }));
    }
}

}  // namespace om::cpu
