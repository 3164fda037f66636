// The host's side of kernels/product.cl: operands are packed into panels in slices of k and of rows that fit
// a cache, and multiplied slice by slice. How a product is sliced depends on its sizes and the kind of device
// alone, and each sum runs in the order of k, so a product repeats to the bit.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "tensor/opencl/opencl_backend.h"

namespace om::opencl {

constexpr std::int64_t kRows = 6, kColumns = 16;  // of a panel; as in kernels/product.cl

constexpr std::int64_t panels(std::int64_t size, std::int64_t width) { return (size + width - 1) / width; }

/// Product, Matrix and Patches of kernels/product.cl.
struct ProductArguments {
  std::int64_t m, n, k;
  std::int64_t a_batch, b_batch, y_batch;
  std::int64_t first_row;
  std::int64_t rows_h, rows_w, y_n, y_h, y_w, offset;
  std::int64_t add, kind;
};

struct MatrixArguments {
  std::int64_t rows, first_row, width, k;
  std::int64_t k_first, k_size1, k_size2, k_step0, k_step1, k_step2;
  std::int64_t batch, row_step, to_batch;
  std::int64_t k_limit, k_batch;
};

struct PatchArguments {
  std::int64_t h, w, c;
  std::int64_t rows, first_row, rows_h, rows_w;
  std::int64_t base_h, base_w, step_h, step_w, tap_h, tap_w, taps_w;
  std::int64_t first_tap, taps, first_channel, channels;
  std::int64_t k, k_first, k_batch, k_limit, to_batch;
};

/// A product of `batches` independent ones. Row m of a result is pixel (m / (rows_h rows_w), .., ..) and lies
/// at offset + those . (y_n, y_h, y_w).
struct Product {
  std::int64_t batches, m, n;
  std::int64_t y_batch;
  std::int64_t rows_h, rows_w, y_n, y_h, y_w, offset;
};

/// One slice of k: what packs it.
struct Slice {
  std::int64_t k;
  /// Packs rows first to first + rows of A, all batches, each at a multiple of a_batch.
  std::function<void(void* to, std::int64_t first, std::int64_t rows, std::int64_t a_batch)> pack_a;
  /// Packs all of B.
  std::function<void(void* to, std::int64_t b_batch)> pack_b;
};

/// The largest k of a slice: a panel of B stays in a processor's first cache.
std::int64_t largest_slice(const Device& device);

/// y = the sum over all slices. y may be bf16 where the operands are, or f32.
void multiply(OpenClBackend& backend, DType operands, const Product& product, std::span<const Slice> slices,
              Out y);

/// One launch of the kernel: panels of A and B that were packed before.
void multiply_panels(Device& device, DType operands, std::int64_t batches, const void* a, const void* b,
                     void* y, const ProductArguments& arguments);

/// Where the sums of several slices stand: y itself, or where y is bf16, f32 memory that store() rounds into
/// y once.
class Sums {
 public:
  Sums(OpenClBackend& backend, Out y, std::size_t slices);
  Out out() const { return scratch_ ? Out{scratch_->data(), DType::f32, y_.shape} : y_; }
  void store();

 private:
  OpenClBackend& backend_;
  Out y_;
  std::unique_ptr<Scratch> scratch_;
};

void pack_matrix(Device& device, DType dtype, const void* from, void* to, std::int64_t batches,
                 const MatrixArguments& arguments);

}  // namespace om::opencl
