// The ops: what users of tensors call. Each checks its arguments, allocates the result, runs a kernel and
// records its derivative rule. All are differentiable any number of times unless marked "no gradient".
//
// Images are [N, H, W, C], convolution weights [O, kH, kW, I]; sizes are in elements. Operands of different
// floating dtypes are promoted to the wider one (bf16 < f32 < f64). Tensors of different backends are an
// error, and so are sizes beyond 64 bits.
#pragma once

#include <cstdint>
#include <vector>

#include "autograd/precision.h"
#include "tensor/tensor.h"

namespace om {

// --- elementwise (autograd/elementwise.cpp). Binary ops broadcast dimensions of size 1; the shorter shape
// is first extended by leading ones.

Tensor add(const Tensor& a, const Tensor& b);
Tensor subtract(const Tensor& a, const Tensor& b);
Tensor multiply(const Tensor& a, const Tensor& b);
Tensor divide(const Tensor& a, const Tensor& b);
/// Where both are equal the gradient goes to a.
Tensor maximum(const Tensor& a, const Tensor& b);
Tensor minimum(const Tensor& a, const Tensor& b);
/// u8, 1 or 0; no gradient.
Tensor greater(const Tensor& a, const Tensor& b);
Tensor greater_equal(const Tensor& a, const Tensor& b);
Tensor equal(const Tensor& a, const Tensor& b);
/// condition (u8) ? a : b, broadcasting.
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);

/// a x + b with host constants, which are frozen into captured graphs.
Tensor affine(const Tensor& x, double a, double b);
Tensor abs(const Tensor& x);
Tensor exp(const Tensor& x);
Tensor log(const Tensor& x);
Tensor sqrt(const Tensor& x);
Tensor rsqrt(const Tensor& x);
Tensor reciprocal(const Tensor& x);
/// x^exponent; x^0 is 1, and its derivative 0, everywhere.
Tensor power(const Tensor& x, double exponent);
Tensor square(const Tensor& x);
Tensor tanh(const Tensor& x);
Tensor sigmoid(const Tensor& x);
/// x > 0 ? x : slope x, slope >= 0.
Tensor leaky_relu(const Tensor& x, double slope);
Tensor relu(const Tensor& x);
/// The gradient g of a leaky relu with output y: g * (y > 0 ? 1 : slope). Differentiable in g.
Tensor leaky_relu_grad(const Tensor& g, const Tensor& y, double slope);
/// min(max(x, low), high); the gradient passes where low <= x <= high.
Tensor clamp(const Tensor& x, double low, double high);
/// No gradient.
Tensor sign(const Tensor& x);
Tensor floor(const Tensor& x);
/// x in another dtype; x itself where it has it already.
Tensor cast(const Tensor& x, DType dtype);

inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return subtract(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return multiply(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return divide(a, b); }
inline Tensor operator-(const Tensor& x) { return affine(x, -1, 0); }
inline Tensor operator*(const Tensor& x, double a) { return affine(x, a, 0); }
inline Tensor operator*(double a, const Tensor& x) { return affine(x, a, 0); }
inline Tensor operator/(const Tensor& x, double a) { return affine(x, 1 / a, 0); }
inline Tensor operator+(const Tensor& x, double b) { return affine(x, 1, b); }
inline Tensor operator-(const Tensor& x, double b) { return affine(x, 1, -b); }

// --- shapes (autograd/shapes.cpp). Only reshape shares storage; the rest is one strided copy.

Tensor reshape(const Tensor& x, const Shape& shape);
/// y's dimension i is x's dimension order[i].
Tensor permute(const Tensor& x, const std::vector<int>& order);
/// x[.., start : start + size, ..] along one dimension.
Tensor slice(const Tensor& x, int dimension, std::int64_t start, std::int64_t size);
/// Zeros before and after along one dimension.
Tensor pad(const Tensor& x, int dimension, std::int64_t before, std::int64_t after);
Tensor concat(const std::vector<Tensor>& parts, int dimension);
Tensor flip(const Tensor& x, const std::vector<int>& dimensions);
/// x repeated along its dimensions of size 1 (and along new leading ones) to `shape`, dense.
Tensor broadcast(const Tensor& x, const Shape& shape);

// --- reductions (autograd/reductions.cpp). Reduced dimensions stay, with size 1; without a list everything
// is reduced to shape []. bf16 is summed in float32 and returned as float32.

Tensor sum(const Tensor& x);
Tensor sum(const Tensor& x, const std::vector<int>& dimensions);
Tensor mean(const Tensor& x);
Tensor mean(const Tensor& x, const std::vector<int>& dimensions);
/// The adjoint of broadcast: sums x down to `shape`, which broadcasts to x's.
Tensor sum_to(const Tensor& x, const Shape& shape);
/// Largest element; no gradient.
Tensor max(const Tensor& x);

// --- matrices and convolutions (autograd/linear.cpp). The scope's precision says how they compute: under
// bf16, f32 operands are rounded to bf16 on the way in, and the result is bf16 unless float32 is asked for;
// the sums are formed in float32 either way. A gradient has its operand's own dtype.

/// Whether bf16 operands give a bf16 result or the float32 sums as they are. Of no effect on other dtypes.
enum class Sums : std::uint8_t { rounded, f32 };

/// op(a) op(b) over the last two dimensions; leading (batch) dimensions broadcast.
Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a = false, bool transpose_b = false,
              Sums sums = Sums::rounded);

struct Conv2d {
  std::int64_t stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0;
  Sums sums = Sums::rounded;
  static Conv2d same(std::int64_t stride, std::int64_t pad, Sums sums = Sums::rounded) {
    return {stride, stride, pad, pad, sums};
  }
};
/// x [N, H, W, I], w [O, kH, kW, I] -> [N, OH, OW, O]; cross-correlation, OH = (H + 2 pad - kH) / stride + 1.
Tensor conv2d(const Tensor& x, const Tensor& w, const Conv2d& options = {});
/// The transposed convolution: g [N, OH, OW, O], w [O, kH, kW, I] -> [N, height, width, I], for a height and
/// width that conv2d maps to OH, OW.
Tensor conv2d_input_grad(const Tensor& g, const Tensor& w, std::int64_t height, std::int64_t width,
                         const Conv2d& options = {});
/// x [N, H, W, I], g [N, OH, OW, O] -> [O, kernel_h, kernel_w, I].
Tensor conv2d_weight_grad(const Tensor& x, const Tensor& g, std::int64_t kernel_h, std::int64_t kernel_w,
                          const Conv2d& options = {});

/// Upsample by zero insertion, pad, filter, downsample (tensor/backend.h has the formula). filter [kH, kW]
/// is a constant.
Tensor upfirdn2d(const Tensor& x, const Tensor& filter, const UpFirDnParams& params);

// --- windows and indices (autograd/indexing.cpp)

struct Pool2d {
  std::int64_t kernel = 2, stride = 2, pad = 0;
  /// Keep a last window that hangs over the edge, if it starts inside the image or the left padding.
  bool ceil_mode = false;
};
/// At most 2^31 - 1 elements a sample.
Tensor max_pool2d(const Tensor& x, const Pool2d& options);
/// x [N, S], index i32 [N, M] -> [N, M]: y[n, m] = x[n, index[n, m]]. The caller answers for the range of
/// the index.
Tensor gather(const Tensor& x, const Tensor& index);
/// x [N, M], index i32 [N, M] -> [N, size]: y[n, index[n, m]] += x[n, m].
Tensor scatter_add(const Tensor& x, const Tensor& index, std::int64_t size);

}  // namespace om
