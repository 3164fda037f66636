#include "tensor/opencl/product.h"

namespace om::opencl {
namespace {

/// Bytes of A that are packed at a time: what the last cache of a processor, or a card's memory, has to
/// spare.
std::int64_t slab_bytes(const Device& device) { return std::int64_t{device.is_processor() ? 4 : 128} << 20; }

}  // namespace

std::int64_t largest_slice(const Device& device) { return device.is_processor() ? 512 : 4096; }

Sums::Sums(OpenClBackend& backend, Out y, std::size_t slices) : backend_(backend), y_(y) {
  if (y.dtype == DType::bf16 && slices > 1)
    scratch_ = std::make_unique<Scratch>(backend, y.shape.elements() * 4);
}

void Sums::store() {
  if (scratch_) backend_.cast(out(), y_);
}

void pack_matrix(Device& device, DType dtype, const void* from, void* to, std::int64_t batches,
                 const MatrixArguments& p) {
  device.run({"product", type_name(dtype), "pack_matrix"},
             {{p.k, panels(p.rows - p.first_row, p.width), batches}, {device.is_processor() ? 16 : 64, 1, 1}},
             from, to, p);
}

void multiply_panels(Device& device, DType operands, std::int64_t batches, const void* a, const void* b,
                     void* y, const ProductArguments& p) {
  const std::int64_t group = device.is_processor() ? 1 : 8;
  device.run({"product", type_name(operands), "multiply"},
             {{panels(p.n, kColumns), panels(p.m, kRows), batches}, {group, group, 1}}, a, b, y, p);
}

void multiply(OpenClBackend& backend, DType operands, const Product& c, std::span<const Slice> slices,
              Out y) {
  Device& device = backend.device();
  if (c.batches * c.m * c.n == 0) return;
  const DType inner = operands == DType::f64 ? DType::f64 : DType::f32;
  const auto size = static_cast<std::int64_t>(size_of(inner));
  std::int64_t longest = 0;
  for (const Slice& slice : slices) longest = std::max(longest, slice.k);
  const std::int64_t row_panels = panels(c.m, kRows), column_panels = panels(c.n, kColumns);
  const std::int64_t panel_bytes = std::max<std::int64_t>(1, c.batches * longest * kRows * size);
  const std::int64_t slab =
      std::min(row_panels, std::max<std::int64_t>(16, slab_bytes(device) / panel_bytes));
  const Scratch a(backend, std::max<std::int64_t>(1, slab * panel_bytes));
  const Scratch b(backend, std::max<std::int64_t>(1, c.batches * longest * column_panels * kColumns * size));
  for (std::size_t s = 0; s < slices.size(); ++s) {
    const Slice& slice = slices[s];
    const std::int64_t b_batch = slice.k * column_panels * kColumns;
    slice.pack_b(b.data(), b_batch);
    for (std::int64_t first = 0; first < row_panels; first += slab) {
      const std::int64_t now = std::min(slab, row_panels - first), a_batch = slice.k * now * kRows;
      const std::int64_t rows = std::min(now * kRows, c.m - first * kRows);
      slice.pack_a(a.data(), first * kRows, rows, a_batch);
      const ProductArguments arguments{
          rows,      c.n,           slice.k,  a_batch,       b_batch,
          c.y_batch, first * kRows, c.rows_h, c.rows_w,      c.y_n,
          c.y_h,     c.y_w,         c.offset, s > 0 ? 1 : 0, static_cast<std::int64_t>(kind_of(y.dtype))};
      multiply_panels(device, operands, c.batches, a.data(), b.data(), y.data, arguments);
    }
  }
}

}  // namespace om::opencl
