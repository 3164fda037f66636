#include "tensor/opencl/winograd.h"

#include "tensor/opencl/product.h"

namespace om::opencl {
namespace {

/// Winograd of kernels/winograd.cl.
struct WinogradArguments {
  std::int64_t h, w, channels;
  std::int64_t out_h, out_w, columns;
  std::int64_t pad_h, pad_w;
  std::int64_t down, across;
  std::int64_t first, pieces;
  std::int64_t step_n, step_k, step_tap, flip;
  std::int64_t a_plane, b_plane, m_plane;
  std::int64_t kind;
};

constexpr std::int64_t kPlanes = 36;

/// Bytes of transformed pixels at a time; the weight's planes are read again for each such slab.
std::int64_t slab_bytes(const Device& device) { return std::int64_t{device.is_processor() ? 16 : 256} << 20; }

}  // namespace

bool winograd_pays(const WinogradConv& conv) {
  const std::int64_t channels = conv.x.shape[3], columns = conv.y.shape[3];
  const std::int64_t pieces = conv.y.shape[0] * panels(conv.y.shape[1], 4) * panels(conv.y.shape[2], 4);
  return conv.x.dtype != DType::f64 && channels % 8 == 0 && columns % 8 == 0 && channels >= 32 &&
         channels <= 1024 && columns >= 32 && pieces >= 36 && conv.pad_h >= 0 && conv.pad_w >= 0;
}

void winograd(OpenClBackend& backend, const WinogradConv& conv) {
  Device& device = backend.device();
  const std::int64_t channels = conv.x.shape[3], columns = conv.y.shape[3];
  const std::int64_t down = panels(conv.y.shape[1], 4), across = panels(conv.y.shape[2], 4);
  const std::int64_t all = conv.y.shape[0] * down * across;
  const std::int64_t wanted = slab_bytes(device) / (kPlanes * 4 * std::max(channels, columns));
  const std::int64_t slab = std::min(panels(all, kRows), std::max<std::int64_t>(8, wanted / kRows)) * kRows;
  const std::int64_t b_plane = channels * panels(columns, kColumns) * kColumns;
  const Scratch a(backend, kPlanes * slab * channels * 4), b(backend, kPlanes * b_plane * 4);
  const Scratch products(backend, kPlanes * slab * columns * 4);
  WinogradArguments p{conv.x.shape[1],
                      conv.x.shape[2],
                      channels,
                      conv.y.shape[1],
                      conv.y.shape[2],
                      columns,
                      conv.pad_h,
                      conv.pad_w,
                      down,
                      across,
                      0,
                      0,
                      conv.step_n,
                      conv.step_k,
                      conv.step_tap,
                      conv.flip ? 1 : 0,
                      slab * channels,
                      b_plane,
                      slab * columns,
                      static_cast<std::int64_t>(kind_of(conv.y.dtype))};
  const char* type = type_name(conv.x.dtype);
  const std::int64_t wide = device.is_processor() ? 16 : 64;
  device.run({"winograd", type, "transform_weight"}, {{channels, columns / 8, 1}, {wide, 1, 1}},
             conv.weight.data, b.data(), p);
  for (p.first = 0; p.first < all; p.first += slab) {
    p.pieces = std::min(slab, all - p.first);
    device.run({"winograd", type, "transform_image"}, {{channels / 8, p.pieces, 1}, {1, wide, 1}},
               conv.x.data, a.data(), p);
    multiply_panels(device, DType::f32, kPlanes, a.data(), b.data(), products.data(),
                    {.m = p.pieces,
                     .n = columns,
                     .k = channels,
                     .a_batch = p.a_plane,
                     .b_batch = b_plane,
                     .y_batch = p.m_plane,
                     .first_row = 0,
                     .rows_h = 1,
                     .rows_w = p.pieces,
                     .y_n = 0,
                     .y_h = 0,
                     .y_w = columns,
                     .offset = 0,
                     .add = 0,
                     .kind = static_cast<std::int64_t>(ResultKind::f32)});
    device.run({"winograd", type, "transform_result"}, {{columns / 8, p.pieces, 1}, {1, wide, 1}},
               products.data(), conv.y.data, p);
  }
}

}  // namespace om::opencl
