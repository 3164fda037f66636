// Convolutions as products: patches of images are packed into panels (kernels/product.cl), a slice of taps
// and channels at a time, and nothing else of them is ever stored.
//
// The input gradient is one such product for each place of a pixel between the strides: of stride 2, even and
// odd rows and columns meet taps of their own, and no product with an inserted zero is formed. The weight
// gradient sums over pixels, which are cut into parts where its results are few; the parts are batches, and
// their sum a reduction.
#include <algorithm>
#include <vector>

#include "tensor/opencl/product.h"
#include "tensor/opencl/winograd.h"

namespace om::opencl {
namespace {

/// A slice of k: some taps, and some channels of them.
struct Part {
  std::int64_t first_tap, taps, first_channel, channels;
};

/// Channels in parts of at most `most`, or several whole taps at a time.
std::vector<Part> parts_of(std::int64_t taps, std::int64_t channels, std::int64_t most) {
  std::vector<Part> parts;
  if (channels == 0 || taps == 0) return parts;
  if (channels > most) {
    const std::int64_t length = panels(channels, panels(channels, most));
    for (std::int64_t tap = 0; tap < taps; ++tap)
      for (std::int64_t i = 0; i < channels; i += length)
        parts.push_back({tap, 1, i, std::min(length, channels - i)});
    return parts;
  }
  const std::int64_t length = panels(taps, panels(taps * channels, most));
  for (std::int64_t tap = 0; tap < taps; tap += length)
    parts.push_back({tap, std::min(length, taps - tap), 0, channels});
  return parts;
}

void pack_patch_rows(Device& device, const In& x, void* to, const PatchArguments& p) {
  device.run({"product", type_name(x.dtype), "pack_patch_rows"},
             {{p.taps, panels(p.rows, kRows), 1}, {1, device.is_processor() ? 1 : 64, 1}}, x.data, to, p);
}

/// The weight's element of (tap row, tap column, channel) for column n of the product: strides in elements.
struct WeightSteps {
  std::int64_t taps_w, offset, row, column, channel, n;
};

/// Slices of a product of patches of x with a weight.
std::vector<Slice> patch_slices(Device& device, const In& x, const In& weight, const PatchArguments& patches,
                                std::int64_t taps, std::int64_t columns, const WeightSteps& steps) {
  std::vector<Slice> slices;
  for (const Part& part : parts_of(taps, patches.c, largest_slice(device)))
    slices.push_back({part.taps * part.channels,
                      [=, &device](void* to, std::int64_t first, std::int64_t rows, std::int64_t) {
                        PatchArguments p = patches;
                        p.first_row = first, p.rows = rows;
                        p.first_tap = part.first_tap, p.taps = part.taps;
                        p.first_channel = part.first_channel, p.channels = part.channels;
                        pack_patch_rows(device, x, to, p);
                      },
                      [=, &device](void* to, std::int64_t) {
                        // Taps and channels of a part are walked as (tap row, tap column, channel).
                        const auto size = static_cast<std::int64_t>(size_of(weight.dtype));
                        const auto* from = static_cast<const char*>(weight.data) +
                                           (steps.offset + part.first_channel * steps.channel) * size;
                        const std::int64_t k = part.taps * part.channels;
                        const MatrixArguments p{.rows = columns,
                                                .first_row = 0,
                                                .width = kColumns,
                                                .k = k,
                                                .k_first = part.first_tap * part.channels,
                                                .k_size1 = steps.taps_w,
                                                .k_size2 = part.channels,
                                                .k_step0 = steps.row,
                                                .k_step1 = steps.column,
                                                .k_step2 = steps.channel,
                                                .batch = 0,
                                                .row_step = steps.n,
                                                .to_batch = 0,
                                                .k_limit = taps * part.channels,
                                                .k_batch = 0};
                        pack_matrix(device, weight.dtype, from, to, 1, p);
                      }});
  return slices;
}

/// Of one dimension of the input gradient: pixels first, first + stride, .. meet taps tap, tap + stride, ..
struct Phase {
  std::int64_t first, pixels;
  std::int64_t tap, taps;
  std::int64_t base;  ///< of g that the first pixel meets at the first of the taps
};

std::vector<Phase> phases(std::int64_t size, std::int64_t kernel, std::int64_t stride, std::int64_t pad) {
  std::vector<Phase> found;
  for (std::int64_t first = 0; first < std::min(stride, size); ++first) {
    const std::int64_t tap = (first + pad) % stride;
    found.push_back({first, (size - first + stride - 1) / stride, tap,
                     tap < kernel ? (kernel - tap + stride - 1) / stride : 0, (first + pad - tap) / stride});
  }
  return found;
}

bool is_3x3_stride1(const In& w, const Conv2dParams& params) {
  return w.shape[1] == 3 && w.shape[2] == 3 && params.stride_h == 1 && params.stride_w == 1;
}

/// The pixels of x under the filter's taps, a window for each of [oh, ow] results.
PatchArguments windows(const In& x, std::int64_t oh, std::int64_t ow, std::int64_t kw,
                       const Conv2dParams& params) {
  PatchArguments patches{};
  patches.h = x.shape[1], patches.w = x.shape[2], patches.c = x.shape[3];
  patches.rows_h = oh, patches.rows_w = ow;
  patches.base_h = -params.pad_h, patches.base_w = -params.pad_w;
  patches.step_h = params.stride_h, patches.step_w = params.stride_w;
  patches.tap_h = patches.tap_w = 1;
  patches.taps_w = kw;
  return patches;
}

}  // namespace

void OpenClBackend::conv2d(In x, In w, Out y, const Conv2dParams& params) {
  const std::int64_t n = y.shape[0], oh = y.shape[1], ow = y.shape[2], o = y.shape[3];
  const std::int64_t kh = w.shape[1], kw = w.shape[2], channels = x.shape[3];
  if (y.shape.elements() == 0) return;
  if (is_3x3_stride1(w, params)) {
    const WinogradConv conv{x, w, y, params.pad_h, params.pad_w, 9 * channels, 1, channels, false};
    if (winograd_pays(conv)) return winograd(*this, conv);
  }
  PatchArguments patches = windows(x, oh, ow, kw, params);
  const std::vector<Slice> slices = patch_slices(device_, x, w, patches, kh * kw, o,
                                                 {kw, 0, kw * channels, channels, 1, kh * kw * channels});
  if (slices.empty()) return fill(y, 0);
  Sums sums(*this, y, slices.size());
  multiply(*this, x.dtype, {1, n * oh * ow, o, 0, oh, ow, oh * ow * o, ow * o, o, 0}, slices, sums.out());
  sums.store();
}

void OpenClBackend::conv2d_input_grad(In g, In w, Out x, const Conv2dParams& params) {
  const std::int64_t n = x.shape[0], height = x.shape[1], width = x.shape[2], channels = x.shape[3];
  const std::int64_t o = w.shape[0], kh = w.shape[1], kw = w.shape[2];
  if (x.shape.elements() == 0) return;
  if (is_3x3_stride1(w, params)) {
    const WinogradConv conv{g, w, x, 2 - params.pad_h, 2 - params.pad_w, 1, 9 * channels, channels, true};
    if (winograd_pays(conv)) return winograd(*this, conv);
  }
  const std::vector<Phase> rows = phases(height, kh, params.stride_h, params.pad_h);
  const std::vector<Phase> columns = phases(width, kw, params.stride_w, params.pad_w);
  const bool whole = std::all_of(rows.begin(), rows.end(), [](const Phase& p) { return p.taps > 0; }) &&
                     std::all_of(columns.begin(), columns.end(), [](const Phase& p) { return p.taps > 0; });
  if (!whole || o == 0) fill(x, 0);
  if (o == 0) return;
  // Phases have as many slices as their taps ask for; rounding comes once, after the last.
  Sums sums(*this, x, static_cast<std::size_t>(panels(kh * kw * o, largest_slice(device_))));
  if (!whole && sums.out().data != x.data) fill(sums.out(), 0);
  for (const Phase& row : rows)
    for (const Phase& column : columns) {
      if (row.taps == 0 || column.taps == 0) continue;
      PatchArguments patches{};
      patches.h = g.shape[1], patches.w = g.shape[2], patches.c = o;
      patches.rows_h = row.pixels, patches.rows_w = column.pixels;
      patches.base_h = row.base, patches.base_w = column.base;
      patches.step_h = patches.step_w = 1;
      patches.tap_h = patches.tap_w = -1;
      patches.taps_w = column.taps;
      const WeightSteps steps{column.taps,
                              (row.tap * kw + column.tap) * channels,
                              params.stride_h * kw * channels,
                              params.stride_w * channels,
                              kh * kw * channels,
                              1};
      const std::vector<Slice> slices =
          patch_slices(device_, g, w, patches, row.taps * column.taps, channels, steps);
      const Product product{1,
                            n * row.pixels * column.pixels,
                            channels,
                            0,
                            row.pixels,
                            column.pixels,
                            height * width * channels,
                            params.stride_h * width * channels,
                            params.stride_w * channels,
                            (row.first * width + column.first) * channels};
      multiply(*this, g.dtype, product, slices, sums.out());
    }
  sums.store();
}

void OpenClBackend::conv2d_weight_grad(In x, In g, Out w, const Conv2dParams& params) {
  const std::int64_t oh = g.shape[1], ow = g.shape[2], o = w.shape[0];
  const std::int64_t kh = w.shape[1], kw = w.shape[2], channels = x.shape[3], columns = kh * kw * channels;
  const std::int64_t pixels = g.shape[0] * oh * ow;
  if (w.shape.elements() == 0) return;
  if (pixels == 0) return fill(w, 0);
  // Parts, so that few results have work for every unit; slices of pixels within each.
  const std::int64_t tiles = panels(o, kRows) * panels(columns, kColumns), wanted = 8 * device_.units();
  const std::int64_t length = std::min<std::int64_t>(pixels, device_.is_processor() ? 256 : 1024);
  const std::int64_t parts = std::clamp<std::int64_t>(wanted / tiles, 1, panels(pixels, length));
  const std::int64_t rounds = panels(panels(pixels, parts), length), per_part = rounds * length;
  PatchArguments patches = windows(x, oh, ow, kw, params);
  patches.k = length, patches.k_batch = per_part, patches.k_limit = pixels;
  std::vector<Slice> slices;
  for (std::int64_t round = 0; round < rounds; ++round)
    slices.push_back({length,
                      [=, this](void* to, std::int64_t first, std::int64_t rows, std::int64_t to_batch) {
                        pack_matrix(device_, g.dtype, g.data, to, parts,
                                    {.rows = first + rows,
                                     .first_row = first,
                                     .width = kRows,
                                     .k = length,
                                     .k_first = round * length,
                                     .k_size1 = 1,
                                     .k_size2 = pixels,
                                     .k_step0 = 0,
                                     .k_step1 = 0,
                                     .k_step2 = o,
                                     .batch = 0,
                                     .row_step = 1,
                                     .to_batch = to_batch,
                                     .k_limit = pixels,
                                     .k_batch = per_part});
                      },
                      [=, this](void* to, std::int64_t to_batch) {
                        PatchArguments p = patches;
                        p.k_first = round * length, p.to_batch = to_batch;
                        device_.run({"product", type_name(x.dtype), "pack_patch_columns"},
                                    {{length, kh * kw, parts}, {device_.is_processor() ? 16 : 64, 1, 1}},
                                    x.data, to, p);
                      }});
  const Product product{parts, o, columns, o * columns, 1, o, 0, 0, columns, 0};
  if (parts == 1) {
    Sums sums(*this, w, slices.size());
    multiply(*this, x.dtype, product, slices, sums.out());
    return sums.store();
  }
  const DType inner = x.dtype == DType::f64 ? DType::f64 : DType::f32;
  const Scratch terms(*this, parts * o * columns * static_cast<std::int64_t>(size_of(inner)));
  const Out sums{terms.data(), inner, {parts, o * columns}};
  multiply(*this, x.dtype, product, slices, sums);
  reduce(ReduceOp::sum, sums, {w.data, w.dtype, {1, o * columns}});
}

}  // namespace om::opencl
