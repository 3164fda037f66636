// Winograd's convolutions and their input gradients.
//
// The image is transformed under the pieces of the result (V [planes, pieces, parts of the image x in]); one
// product a plane with the transformed weights (U [planes, parts x in, parts of the result x out], in panels)
// gives M, which is transformed back. conv2d has up to four parts of the image, whose products add up in M;
// the input gradient, a convolution of g with flipped, transposed weights, has up to four parts of the
// result, which share V.
//
// It goes by slices of pieces, small enough for the third-level cache. A task is a range of output channels
// and a range of pieces, in blocks that stay in the second-level cache. With few pieces each number of U is
// used little: then a task transforms its own weights bit by bit, and they never go through memory.
#include "tensor/cpu/winograd.h"

#include <algorithm>

#include "tensor/cpu/winograd_products.h"

namespace om::cpu {
namespace {

constexpr std::int64_t kPad = 16;               // keeps planes and rows off power-of-two distances
constexpr std::int64_t kSliceBytes = 12 << 20;  // of V
// Pieces times planes whose products stay in the second-level cache.
constexpr std::int64_t kBlockRows = 48 * 36;
constexpr std::int64_t kMostBlock = WinogradProducts::kMostRows;  // pieces of a block
constexpr double kLeastFlops = 3e8, kLeastFlopsAlone = 1e9;       // of stride 2, its parts together or alone
constexpr std::int64_t kFewPieces = 192;  // at most: one block, and each task transforms its own weights
constexpr std::int64_t kChunk = 128, kOwnChunk = 64;  // output channels of a task; a panel at least
constexpr std::int64_t kCloseBytes = 1 << 20;         // of U; more come from the third-level cache
// Products in a row before the sum goes to memory: shorter sums, smaller errors.
constexpr std::int64_t kSum = 256;
constexpr std::int64_t kWeightRows = 32;  // input channels whose weights are packed at a time

/// A range of k, which counts the channels of all parts of the image.
struct Range {
  std::int64_t first, last;
};

struct Problem {
  std::vector<WinogradPart<const float>> images;
  std::vector<WinogradPart<float>> results;
  Pieces pieces;
  bool add = false;

  std::int64_t in() const { return images[0].pixels.channels; }
  std::int64_t out() const { return results[0].pixels.channels; }
  std::int64_t depth() const { return static_cast<std::int64_t>(images.size()) * in(); }
  std::int64_t planes() const { return images[0].taps.scheme->planes; }
  /// The taps by which part `image` of the image adds to part `result` of the result: those of whichever side
  /// is cut into several, since the other one is whole.
  const WinogradTaps& taps(std::int64_t image, std::int64_t result) const {
    return images.size() > 1 ? images[static_cast<std::size_t>(image)].taps
                             : results[static_cast<std::size_t>(result)].taps;
  }
  /// The numbers of k in `all` that belong to parts with a plane (i, j): see parts_of_image.
  Range present(Range all, int i, int j) const {
    auto first = images.begin(), last = images.end();
    while (first < last && !first->taps.has_plane(i, j)) ++first;
    while (first < last && !(last - 1)->taps.has_plane(i, j)) --last;
    return {std::max(all.first, (first - images.begin()) * in()),
            std::min(all.last, (last - images.begin()) * in())};
  }
};

/// The transformed weights for `range` and one panel of a result: u[plane][k - range.first][columns].
/// pack(taps, r, s, first, count, column, width, panel) packs weights [count inputs from `first`, width
/// outputs from `column`] of tap (r, s).
template <class Pack>
void transform_panel(const Problem& p, std::int64_t result, std::int64_t column, Range range,
                     const Pack& pack, float* packed, float* u, std::int64_t plane) {
  const std::int64_t columns = kernels<float>().columns, width = std::min(columns, p.out() - column);
  for (std::int64_t k = range.first; k < range.last;) {
    const std::int64_t part = k / p.in(), first = k % p.in();
    const std::int64_t count = std::min({kWeightRows, range.last - k, p.in() - first});
    const WinogradTaps& taps = p.taps(part, result);
    float* to = packed;
    for (int r = 0; r < taps.scheme->taps_h; ++r)
      for (int s = 0; s < taps.scheme->taps_w; ++s, to += kWeightRows * columns)
        pack(taps, r, s, first, count, column, width, to);
    taps.scheme->transform_weights(packed, kWeightRows * columns, count * columns,
                                   u + (k - range.first) * columns, plane);
    k += count;
  }
}

/// Transformed weights [planes][panels][depth][columns], from k = first on.
struct Weights {
  const float* data;
  std::int64_t plane, depth, first;
};

/// m[plane][piece][columns of `panels` panels] (+)= the products of `count` pieces over a range of k.
void multiply_block(const Problem& p, const WinogradTaps& result, Range range, const float* v,
                    std::int64_t v_plane, std::int64_t count, const Weights& u, std::int64_t panels, float* m,
                    std::int64_t m_plane, std::int64_t m_step) {
  const std::int64_t columns = kernels<float>().columns;
  const bool far = u.plane * p.planes() * static_cast<std::int64_t>(sizeof(float)) > kCloseBytes;
  WinogradProducts products(
      count, 1, far, [&](std::int64_t t) { return v + t * (p.depth() + kPad); },
      [&](std::int64_t t) { return m + t * m_step; });
  for (int i = 0; i < result.scheme->in_h; ++i)
    for (int j = 0; j < result.scheme->in_w; ++j) {
      const Range here = p.present(range, i, j);
      if (here.first >= here.last) continue;
      const bool add = here.first > p.present({0, p.depth()}, i, j).first;
      const std::int64_t plane = result.scheme->side * i + j;
      for (std::int64_t panel = 0; panel < panels; ++panel)
        products.push({u.data + plane * u.plane + (panel * u.depth + here.first - u.first) * columns,
                       plane * v_plane + here.first, here.last - here.first,
                       plane * m_plane + panel * columns, columns, add});
    }
  products.run();
}

/// How a problem is cut: sizes of its buffers, and what a task does.
struct Plan {
  explicit Plan(const Problem& p)
      : planes(p.planes()),
        panels((p.out() + columns - 1) / columns),
        results(static_cast<std::int64_t>(p.results.size())),
        own_weights(p.pieces.count() <= kFewPieces && results * panels >= 8 * at_least_one(kOwnChunk)),
        chunk(at_least_one(own_weights ? kOwnChunk : kChunk)),
        chunks((panels + chunk - 1) / chunk),
        block(own_weights ? p.pieces.count() : std::min(kMostBlock, kBlockRows / planes)),
        workers(winograd_threads(GemmSize{p.pieces.count(), results * p.out(), planes, p.depth()}.flops())),
        v_step(p.depth() + kPad),
        slice(slice_of(p.pieces.count())),
        groups(std::clamp<std::int64_t>(32 / (results * chunks), 1, (slice + block - 1) / block)),
        v_plane(slice * v_step + kPad),
        u_depth(own_weights ? std::min(kSum, p.depth()) : p.depth()),
        u_panels(own_weights ? chunk : results * panels),
        u_plane(u_panels * u_depth * columns + kPad),
        m_step(chunk * columns + kPad),
        m_plane(block * m_step + kPad) {}

  static std::int64_t at_least_one(std::int64_t channels) {
    return std::max<std::int64_t>(1, channels / kernels<float>().columns);
  }
  /// As many blocks for each thread, where that many fit. Slices do not change any sum, so they may depend on
  /// the number of threads.
  std::int64_t slice_of(std::int64_t pieces) const {
    const std::int64_t fit = kSliceBytes / (planes * static_cast<std::int64_t>(sizeof(float)) * v_step),
                       team = block * workers;
    const std::int64_t unit = fit >= team ? team : block, most = std::max(unit, fit / unit * unit);
    const std::int64_t slices = (pieces + most - 1) / most;
    return std::min(pieces, round_up((pieces + slices - 1) / slices, unit));
  }

  std::int64_t tasks() const { return results * chunks * groups; }
  static std::int64_t packed_size() { return 9 * kWeightRows * kernels<float>().columns; }
  std::int64_t m_size() const { return planes * m_plane; }
  std::int64_t u_size() const { return planes * u_plane; }
  /// What a thread needs for itself: packed weights, products and perhaps its transformed weights.
  std::int64_t own_size() const { return packed_size() + m_size() + (own_weights ? u_size() : 0); }

  const std::int64_t columns = kernels<float>().columns;
  std::int64_t planes, panels, results;
  bool own_weights;            ///< each task transforms its own
  std::int64_t chunk, chunks;  ///< panels of a task, tasks for all of a result
  std::int64_t block;          ///< pieces whose products are formed together
  int workers;
  std::int64_t v_step, slice;  ///< pieces transformed together
  std::int64_t groups;         ///< tasks of a chunk, to which the blocks of a slice are dealt
  std::int64_t v_plane, u_depth, u_panels, u_plane, m_step, m_plane;
};

/// One convolution: transform_weights (once, for many pieces), then slice by slice transform_piece and
/// run_task.
template <class Pack>
class Convolution {
 public:
  Convolution(CachingAllocator& memory, const Problem& problem, const Pack& pack)
      : p_(problem),
        pack_(pack),
        plan_(problem),
        v_memory_(memory, bytes(plan_.planes * plan_.v_plane)),
        u_memory_(memory, plan_.own_weights ? 0 : bytes(plan_.u_size())),
        own_memory_(memory, bytes(plan_.own_size() * plan_.workers)),
        zeros_(static_cast<std::size_t>(problem.in())),
        v_(v_memory_.as<float>()) {}

  void run() {
    const std::int64_t pieces = p_.pieces.count();
    if (!plan_.own_weights)
      parallel_for(plan_.workers, plan_.u_panels,
                   [&](std::int64_t panel, int member) { transform_weights(panel, own(member).packed); });
    for (std::int64_t from = 0; from < pieces; from += plan_.slice) {
      const std::int64_t here = std::min(plan_.slice, pieces - from);
      parallel_pieces(plan_.workers, here, [&](std::int64_t t) { transform_piece(from, t); });
      parallel_for(plan_.workers, plan_.tasks(),
                   [&](std::int64_t task, int member) { run_task(task, from, here, own(member)); });
    }
  }

 private:
  static std::size_t bytes(std::int64_t numbers) { return sizeof(float) * static_cast<std::size_t>(numbers); }

  /// A thread's own memory.
  struct Own {
    float *packed, *m, *u;
  };
  Own own(int member) const {
    float* packed = own_memory_.as<float>() + member * plan_.own_size();
    float* m = packed + Plan::packed_size();
    return {packed, m, plan_.own_weights ? m + plan_.m_size() : nullptr};
  }

  void transform_weights(std::int64_t panel, float* packed) const {
    transform_panel(p_, panel / plan_.panels, panel % plan_.panels * plan_.columns, {0, plan_.u_depth}, pack_,
                    packed, u_memory_.as<float>() + panel * plan_.u_depth * plan_.columns, plan_.u_plane);
  }

  void transform_piece(std::int64_t from, std::int64_t t) const {
    const float* pixels[kMostPlanes];
    float* to = v_ + t * plan_.v_step;
    for (const auto& image : p_.images) {
      const WinogradScheme& scheme = *image.taps.scheme;
      image.point(p_.pieces[from + t], scheme.in_h, scheme.in_w, zeros_.data(), pixels);
      scheme.transform_image(pixels, p_.in(), to, plan_.v_plane);
      to += p_.in();
    }
  }

  /// Some panels of a result for every groups-th block of the slice.
  void run_task(std::int64_t task, std::int64_t from, std::int64_t here, const Own& own) const {
    const std::int64_t part = task / plan_.groups / plan_.chunks;
    const std::int64_t panel = task / plan_.groups % plan_.chunks * plan_.chunk;
    const std::int64_t step = plan_.groups * plan_.block;
    for (std::int64_t start = task % plan_.groups * plan_.block; start < here; start += step) {
      const std::int64_t count = std::min(plan_.block, here - start);
      multiply(part, panel, start, count, own);
      finish(part, panel, from + start, count, own.m);
    }
  }

  void multiply(std::int64_t part, std::int64_t panel, std::int64_t start, std::int64_t count,
                const Own& own) const {
    const std::int64_t panels = std::min(plan_.chunk, plan_.panels - panel), columns = plan_.columns;
    for (std::int64_t k = 0; k < p_.depth(); k += kSum) {
      const Range range{k, std::min(p_.depth(), k + kSum)};
      const float* u = own.u;
      if (plan_.own_weights) {
        for (std::int64_t i = 0; i < panels; ++i)
          transform_panel(p_, part, (panel + i) * columns, range, pack_, own.packed,
                          own.u + i * plan_.u_depth * columns, plan_.u_plane);
      } else {
        u = u_memory_.as<float>() + (part * plan_.panels + panel) * plan_.u_depth * columns;
      }
      multiply_block(p_, p_.results[static_cast<std::size_t>(part)].taps, range, v_ + start * plan_.v_step,
                     plan_.v_plane, count, {u, plan_.u_plane, plan_.u_depth, plan_.own_weights ? k : 0},
                     panels, own.m, plan_.m_plane, plan_.m_step);
    }
  }

  /// Products to pixels.
  void finish(std::int64_t part, std::int64_t panel, std::int64_t first, std::int64_t count,
              const float* m) const {
    WinogradPart<float> result = p_.results[static_cast<std::size_t>(part)];
    const WinogradScheme& scheme = *result.taps.scheme;
    const std::int64_t channel = panel * plan_.columns;
    const std::int64_t channels = std::min(plan_.chunk * plan_.columns, p_.out() - channel);
    result.pixels.data += channel;
    for (std::int64_t t = 0; t < count; ++t) {
      float* pixels[kMostPlanes];
      result.point(p_.pieces[first + t], scheme.out_h, scheme.out_w, nullptr, pixels);
      scheme.finish_pixels(m + t * plan_.m_step, plan_.m_plane, channels, pixels, p_.add);
    }
  }

  const Problem& p_;
  const Pack& pack_;
  const Plan plan_;
  Scratch v_memory_, u_memory_, own_memory_;
  const std::vector<float> zeros_;
  float* v_;
};

template <class Pack>
void convolve(CachingAllocator& memory, const Problem& p, const Pack& pack) {
  if (p.pieces.count() > 0) Convolution<Pack>(memory, p, pack).run();
}

WinogradTaps three_taps() { return {&winograd_kernels().three, 0, 0}; }

/// Those of the even (0) or odd (1) rows and columns of 3x3.
WinogradTaps phase_taps(std::int64_t h, std::int64_t w, bool together) {
  const WinogradKernels& all = winograd_kernels();
  return {&(together ? all.together : all.alone)[1 - h][1 - w], h, w};
}

/// Pieces of results [n, h, w].
Pieces pieces_of(const WinogradTaps& taps, std::int64_t n, std::int64_t h, std::int64_t w) {
  return {n, h, w, taps.scheme->out_h, taps.scheme->out_w};
}

/// Whether the parts of stride 2 run together. With few pieces that would take too many transformed weights.
bool parts_run_together(const ConvSize& size) {
  return pieces_of(phase_taps(0, 0, true), size.n, size.oh, size.ow).count() > kFewPieces;
}

/// Where 3x3 weights pay that have stride 1, or stride 2 and `least` operations in the plain product.
bool pays(const ConvSize& size, double least) {
  constexpr std::int64_t kLeastPixels = 200;
  const std::int64_t pixels = size.n * size.oh * size.ow, stride = size.conv.stride_h;
  return size.kh == 3 && size.kw == 3 && stride <= 2 && size.conv.stride_w == stride &&
         size.conv.pad_h <= 2 && size.conv.pad_w <= 2 && size.i >= 32 && size.o >= 32 &&
         size.i % kWinogradChannels == 0 && size.o % kWinogradChannels == 0 && pixels >= kLeastPixels &&
         size.oh >= 4 && size.ow >= 4 &&
         (stride == 1 || GemmSize{pixels, size.o, 9, size.i}.flops() >= least);
}

}  // namespace

bool winograd_pays(const ConvSize& size) {
  return pays(size, parts_run_together(size) ? kLeastFlops : kLeastFlopsAlone);
}
bool winograd_pays_for_weights(const ConvSize& size) { return pays(size, kLeastFlops); }

std::vector<WinogradPart<const float>> parts_of_image(const float* x, const ConvSize& size, bool together) {
  const Conv2dParams& conv = size.conv;
  if (conv.stride_h == 1)
    return {{three_taps(), Lattice<const float>::all(x, size.h, size.w, size.i), -conv.pad_h, -conv.pad_w}};
  std::vector<WinogradPart<const float>> parts;
  for (const auto& [a, b] : {std::pair(0, 1), std::pair(0, 0), std::pair(1, 0), std::pair(1, 1)}) {
    const Phase h(a, 2, conv.pad_h, size.h), v(b, 2, conv.pad_w, size.w);
    parts.push_back({phase_taps(a, b, together),
                     {x, size.h, size.w, size.i, h.first, v.first, h.count, v.count, 2},
                     -h.origin,
                     -v.origin});
  }
  return parts;
}

void winograd_conv2d(CachingAllocator& memory, const float* x, const float* w, float* y,
                     const ConvSize& size) {
  const auto pack = [&](const WinogradTaps& taps, int r, int s, std::int64_t first, std::int64_t count,
                        std::int64_t column, std::int64_t width, float* panel) {
    kernels<float>().pack_transposed(w + (column * 9 + taps.number(r, s)) * size.i + first, 9 * size.i, count,
                                     width, panel);
  };
  const auto result = Lattice<float>::all(y, size.oh, size.ow, size.o);
  const auto run = [&](const std::vector<WinogradPart<const float>>& images, const WinogradTaps& taps,
                       bool add) {
    convolve(memory, {images, {{taps, result, 0, 0}}, pieces_of(taps, size.n, size.oh, size.ow), add}, pack);
  };
  if (size.conv.stride_h == 1) return run(parts_of_image(x, size, true), three_taps(), false);
  if (parts_run_together(size)) return run(parts_of_image(x, size, true), phase_taps(0, 0, true), false);
  bool add = false;
  for (const auto& part : parts_of_image(x, size, false)) {
    run({part}, part.taps, add);
    add = true;
  }
}

void winograd_input_grad(CachingAllocator& memory, const float* g, const float* w, float* x,
                         const ConvSize& size) {
  const auto pack = [&](const WinogradTaps& taps, int r, int s, std::int64_t first, std::int64_t count,
                        std::int64_t column, std::int64_t width, float* panel) {
    const std::int64_t number = taps.number(taps.scheme->taps_h - 1 - r, taps.scheme->taps_w - 1 - s);
    kernels<float>().pack_rows(w + (first * 9 + number) * size.i + column, 9 * size.i, count, width, panel);
  };
  const Conv2dParams& conv = size.conv;
  const auto image = Lattice<const float>::all(g, size.oh, size.ow, size.o);
  if (conv.stride_h == 1)
    return convolve(memory,
                    {{{three_taps(), image, conv.pad_h - 2, conv.pad_w - 2}},
                     {{three_taps(), Lattice<float>::all(x, size.h, size.w, size.i), 0, 0}},
                     pieces_of(three_taps(), size.n, size.h, size.w)},
                    pack);
  const bool together = parts_run_together(size);
  Problem all{{}, {}, pieces_of(phase_taps(0, 0, together), size.n, 0, 0)};
  for (const std::int64_t a : {0, 1})
    for (const std::int64_t b : {0, 1}) {
      const WinogradTaps taps = phase_taps(a, b, together);
      const Phase h(a, 2, conv.pad_h, size.h), v(b, 2, conv.pad_w, size.w);
      const Lattice<float> pixels{x, size.h, size.w, size.i, h.first, v.first, h.count, v.count, 2};
      // Number n of the result meets numbers n + origin + 1 - taps, .. of g.
      const std::int64_t top = h.origin - 1 + a, left = v.origin - 1 + b;
      if (!together) {
        convolve(
            memory,
            {{{taps, image, top, left}}, {{taps, pixels, 0, 0}}, pieces_of(taps, size.n, h.count, v.count)},
            pack);
        continue;
      }
      // All parts of a piece meet the same, so some begin one before its place.
      if (all.images.empty()) all.images.push_back({taps, image, top, left});
      const WinogradPart<float> part{taps, pixels, all.images[0].top - top, all.images[0].left - left};
      all.pieces.h = std::max(all.pieces.h, h.count - part.top);
      all.pieces.w = std::max(all.pieces.w, v.count - part.left);
      all.results.push_back(part);
    }
  if (together) convolve(memory, all, pack);
}

}  // namespace om::cpu
