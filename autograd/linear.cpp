// Matrix products, convolutions and resampling filters: the ops that are linear in each argument. Their
// derivatives are again such ops. With <., .> the inner product, conv2d's three forms satisfy
//   <g, conv2d(x, w)> = <conv2d_input_grad(g, w), x> = <conv2d_weight_grad(x, g), w>,
// so each is the derivative of the other two, and nothing new appears at any order.
//
// Nodes hold the operands as they were given: the rounding to bf16 that a scope asks for is part of the op,
// so a float32 weight's gradient comes from the float32 sums without a rounding on the way.
#include "autograd/contraction.h"

namespace om {
namespace {

using namespace detail;

/// What the gradient of an operand of this dtype asks of the product that it is.
Sums sums_for(DType operand) { return operand == DType::bf16 ? Sums::rounded : Sums::f32; }

Conv2d with_sums(Conv2d options, DType operand) {
  options.sums = sums_for(operand);
  return options;
}

/// [.., R, C] as the kernel's [B, R, C].
In as_batch(const Tensor& x) {
  In in = x.in();
  const std::int64_t rows = x.size(-2), columns = x.size(-1);
  std::int64_t batch = 1;
  for (int i = 0; i + 2 < x.rank(); ++i) batch *= x.size(i);
  in.shape = {batch, rows, columns};
  return in;
}

Shape batch_of(const Tensor& x) {
  return Shape(std::span(x.shape().begin(), static_cast<std::size_t>(x.rank() - 2)));
}

Shape joined(const Shape& batch, std::int64_t rows, std::int64_t columns) {
  Shape shape = batch;
  shape.append(rows);
  shape.append(columns);
  return shape;
}

/// x with its batch dimensions expanded to `batch`, unless they hold one matrix or are that already.
Tensor expanded(const Tensor& x, const Shape& batch) {
  if (batch_of(x).elements() == 1 || batch_of(x).elements() == batch.elements()) return x;
  return broadcast(x, joined(batch, x.size(-2), x.size(-1)));
}

}  // namespace

Tensor matmul(const Tensor& a_, const Tensor& b_, bool transpose_a, bool transpose_b, Sums sums) {
  if (a_.rank() < 2 || b_.rank() < 2)
    fail("matmul: expects rank >= 2, got ", a_.shape(), " and ", b_.shape());
  same_backend("matmul", a_, b_);
  expect_floating("matmul", a_);
  const Operands p(a_, b_, sums);
  const Tensor &a = p.a, &b = p.b;
  const std::int64_t m = a.size(transpose_a ? -1 : -2), k = a.size(transpose_a ? -2 : -1);
  const std::int64_t kb = b.size(transpose_b ? -1 : -2), n = b.size(transpose_b ? -2 : -1);
  if (k != kb)
    fail("matmul: inner sizes differ, ", k, " and ", kb, " (a ", a.shape(), transpose_a ? "^T" : "", ", b ",
         b.shape(), transpose_b ? "^T)" : ")");
  const Shape batch = broadcast_shape("matmul", batch_of(a), batch_of(b));
  const Tensor wide_a = expanded(a, batch), wide_b = expanded(b, batch);
  Tensor y = p.room(joined(batch, m, n));
  Out out = y.out();
  out.shape = {batch.elements(), m, n};
  a.backend().matmul(as_batch(wide_a), as_batch(wide_b), out, {transpose_a, transpose_b, math_for(a)});
  return record("matmul", y, {a_, b_}, keep_input(0, wants(b_)) | keep_input(1, wants(a_)),
                [transpose_a, transpose_b](const Saved& s, const Tensor& g) {
                  Gradients gradients(2);
                  const auto as_operand = [&](int i, const Tensor& product) {
                    return cast(sum_to(product, s.shape(i)), s.dtype(i));
                  };
                  if (s.needs(0)) {  // y = a b: g b^T; y = a^T b: b g^T
                    const Tensor b = s.input(1);
                    const Sums sums = sums_for(s.dtype(0));
                    gradients[0] = as_operand(0, transpose_a ? matmul(b, g, transpose_b, true, sums)
                                                             : matmul(g, b, false, !transpose_b, sums));
                  }
                  if (s.needs(1)) {  // y = a b: a^T g; y = a b^T: g^T a
                    const Tensor a = s.input(0);
                    const Sums sums = sums_for(s.dtype(1));
                    gradients[1] = as_operand(1, transpose_b ? matmul(g, a, true, transpose_a, sums)
                                                             : matmul(a, g, !transpose_a, false, sums));
                  }
                  return gradients;
                });
}

namespace {

/// The gradient of input i of a node, where that is the image, the weight or the result of the convolution
/// that relates the node's three tensors.
Tensor input_gradient(const Saved& s, int i, const Tensor& g, const Tensor& w, const Conv2d& options) {
  const Shape& x = s.shape(i);
  return cast(conv2d_input_grad(g, w, x[1], x[2], with_sums(options, s.dtype(i))), s.dtype(i));
}
Tensor weight_gradient(const Saved& s, int i, const Tensor& x, const Tensor& g, const Conv2d& options) {
  const Shape& w = s.shape(i);
  return cast(conv2d_weight_grad(x, g, w[1], w[2], with_sums(options, s.dtype(i))), s.dtype(i));
}
Tensor result_gradient(const Saved& s, int i, const Tensor& x, const Tensor& w, const Conv2d& options) {
  return cast(conv2d(x, w, with_sums(options, s.dtype(i))), s.dtype(i));
}

}  // namespace

Tensor conv2d(const Tensor& x_, const Tensor& w_, const Conv2d& options) {
  check_conv2d("conv2d", x_, w_, options);
  const Operands p(x_, w_, options.sums);
  const Tensor &x = p.a, &w = p.b;
  Tensor y = p.room(conv2d_shape("conv2d", x, w, options));
  x.backend().conv2d(x.in(), w.in(), y.out(), params_for(options, x));
  return record("conv2d", y, {x_, w_}, keep_input(0, wants(w_)) | keep_input(1, wants(x_)),
                [options](const Saved& s, const Tensor& g) {
                  return Gradients{s.needs(0) ? input_gradient(s, 0, g, s.input(1), options) : Tensor(),
                                   s.needs(1) ? weight_gradient(s, 1, s.input(0), g, options) : Tensor()};
                });
}

Tensor conv2d_input_grad(const Tensor& g_, const Tensor& w_, std::int64_t height, std::int64_t width,
                         const Conv2d& options) {
  expect_rank("conv2d_input_grad", "g", g_, 4);
  expect_rank("conv2d_input_grad", "w", w_, 4);
  expect_floating("conv2d_input_grad", g_);
  same_backend("conv2d_input_grad", g_, w_);
  check_options("conv2d_input_grad", options);
  if (g_.size(3) != w_.size(0))
    fail("conv2d_input_grad: weight expects O = ", g_.size(3), ", got ", w_.size(0), " (g ", g_.shape(),
         ", w ", w_.shape(), ")");
  constexpr const char* kOp = "conv2d_input_grad";
  if (conv_size(kOp, height, w_.size(1), options.stride_h, options.pad_h) != g_.size(1) ||
      conv_size(kOp, width, w_.size(2), options.stride_w, options.pad_w) != g_.size(2))
    fail("conv2d_input_grad: conv2d does not map ", height, " x ", width, " to g ", g_.shape(), " (w ",
         w_.shape(), ")");
  const Operands p(g_, w_, options.sums);
  const Tensor &g = p.a, &w = p.b;
  Tensor x = p.room({g.size(0), height, width, w.size(3)});
  g.backend().conv2d_input_grad(g.in(), w.in(), x.out(), params_for(options, g));
  return record(kOp, x, {g_, w_}, keep_input(0, wants(w_)) | keep_input(1, wants(g_)),
                [options](const Saved& s, const Tensor& gx) {
                  return Gradients{s.needs(0) ? result_gradient(s, 0, gx, s.input(1), options) : Tensor(),
                                   s.needs(1) ? weight_gradient(s, 1, gx, s.input(0), options) : Tensor()};
                });
}

Tensor conv2d_weight_grad(const Tensor& x_, const Tensor& g_, std::int64_t kernel_h, std::int64_t kernel_w,
                          const Conv2d& options) {
  expect_rank("conv2d_weight_grad", "x", x_, 4);
  expect_rank("conv2d_weight_grad", "g", g_, 4);
  expect_floating("conv2d_weight_grad", x_);
  same_backend("conv2d_weight_grad", x_, g_);
  check_options("conv2d_weight_grad", options);
  constexpr const char* kOp = "conv2d_weight_grad";
  if (x_.size(0) != g_.size(0) ||
      conv_size(kOp, x_.size(1), kernel_h, options.stride_h, options.pad_h) != g_.size(1) ||
      conv_size(kOp, x_.size(2), kernel_w, options.stride_w, options.pad_w) != g_.size(2))
    fail("conv2d_weight_grad: a ", kernel_h, " x ", kernel_w, " conv2d does not map x ", x_.shape(), " to g ",
         g_.shape());
  const Operands p(x_, g_, options.sums);
  const Tensor &x = p.a, &g = p.b;
  Tensor w = p.room({g.size(3), kernel_h, kernel_w, x.size(3)});
  x.backend().conv2d_weight_grad(x.in(), g.in(), w.out(), params_for(options, x));
  return record(kOp, w, {x_, g_}, keep_input(0, wants(g_)) | keep_input(1, wants(x_)),
                [options](const Saved& s, const Tensor& gw) {
                  return Gradients{s.needs(0) ? input_gradient(s, 0, s.input(1), gw, options) : Tensor(),
                                   s.needs(1) ? result_gradient(s, 1, s.input(0), gw, options) : Tensor()};
                });
}

namespace {

/// The parameters of the adjoint: up and down change places, the filter is reversed, and padding follows from
/// matching indices: y[p] reads x[i] through tap r where i up + pad = p down + r.
UpFirDnParams adjoint(const UpFirDnParams& p, const Shape& x, const Shape& y, const Shape& filter) {
  UpFirDnParams a;
  a.up_h = p.down_h;
  a.up_w = p.down_w;
  a.down_h = p.up_h;
  a.down_w = p.up_w;
  a.pad_top = filter[0] - 1 - p.pad_top;
  a.pad_left = filter[1] - 1 - p.pad_left;
  a.pad_bottom = (x[1] - 1) * p.up_h + filter[0] - y[1] * p.down_h - a.pad_top;
  a.pad_right = (x[2] - 1) * p.up_w + filter[1] - y[2] * p.down_w - a.pad_left;
  a.flip = !p.flip;
  return a;
}

std::int64_t filtered_size(std::int64_t size, std::int64_t up, std::int64_t pads, std::int64_t kernel,
                           std::int64_t down) {
  constexpr const char* kOp = "upfirdn2d";
  const std::int64_t padded = checked_sum(kOp, checked_product(kOp, size, up), pads);
  return padded < kernel ? 0 : (padded - kernel) / down + 1;
}

}  // namespace

Tensor upfirdn2d(const Tensor& x, const Tensor& filter, const UpFirDnParams& p) {
  expect_rank("upfirdn2d", "x", x, 4);
  expect_rank("upfirdn2d", "filter", filter, 2);
  expect_floating("upfirdn2d", x);
  same_backend("upfirdn2d", x, filter);
  if (wants(filter)) fail("upfirdn2d: the filter is a constant; it must not require a gradient");
  if (p.up_h < 1 || p.up_w < 1 || p.down_h < 1 || p.down_w < 1) fail("upfirdn2d: expects up and down >= 1");
  const auto pads = [](std::int64_t before, std::int64_t after) {
    return checked_sum("upfirdn2d", before, after);
  };
  const Tensor taps = cast(filter.detach(), x.dtype() == DType::f64 ? DType::f64 : DType::f32);
  Tensor y = x.empty_like(
      {x.size(0), filtered_size(x.size(1), p.up_h, pads(p.pad_top, p.pad_bottom), filter.size(0), p.down_h),
       filtered_size(x.size(2), p.up_w, pads(p.pad_left, p.pad_right), filter.size(1), p.down_w), x.size(3)});
  x.backend().upfirdn2d(x.in(), taps.in(), y.out(), p);
  return record("upfirdn2d", y, {x, taps}, keep_input(1),
                [back = adjoint(p, x.shape(), y.shape(), filter.shape())](const Saved& s, const Tensor& g) {
                  return Gradients{upfirdn2d(g, s.input(1), back), Tensor()};
                });
}

}  // namespace om
