// Backend: everything a device must provide. A port is one folder that implements this class, plus one line
// in tensor/registry.cpp; `conformance --backend NAME` then checks every kernel against the reference backend
// in double.
//
// A kernel computes and nothing else: no shape checks (the ops in autograd/ made them), no allocation of
// results, no derivatives, never a host value in return. Kernels run asynchronously but in order on the
// backend's one queue.
//
// Arrays are dense and row-major; images are [N, H, W, C], convolution weights [O, kH, kW, I]. Sizes and
// offsets are 64-bit. Any size may be 0. Outputs never alias inputs, except that unary, binary and where may
// write over an operand of the output's own shape and dtype. Unless a contract says "adds", the output is
// assigned.
//
// Floating kernels take f32, f64 and bf16 with all operands and the result of one dtype, unless stated
// otherwise. bf16 is a storage type: arithmetic and accumulation run in float32 and each result is rounded
// once. Repeating a kernel on the same inputs gives the same bits, whatever the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "tensor/allocator.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace om {

/// A dense array that a kernel reads.
struct In {
  const void* data = nullptr;
  DType dtype = DType::f32;
  Shape shape;

  template <class T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
};

/// A dense array that a kernel writes.
struct Out {
  void* data = nullptr;
  DType dtype = DType::f32;
  Shape shape;

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  operator In() const { return {data, dtype, shape}; }
};

/// y = f(x), with parameters a and b where named.
enum class UnaryOp : std::uint8_t {
  affine,       ///< a x + b
  absolute,     ///< |x|
  sign,         ///< -1, 0 or 1
  exponential,  ///< e^x
  logarithm,    ///< ln x
  square_root,  ///< sqrt(x)
  rsqrt,        ///< 1 / sqrt(x)
  reciprocal,   ///< 1 / x
  power,        ///< x^a
  hyperbolic_tangent,
  sigmoid,     ///< 1 / (1 + e^-x)
  leaky_relu,  ///< x > 0 ? x : a x  (relu: a = 0); NaN stays NaN
  clamp,       ///< min(max(x, a), b); NaN stays NaN
  floor,       ///< largest integer <= x
};

/// y = f(a, b). The comparisons write u8 (1 or 0).
enum class BinaryOp : std::uint8_t {
  add,
  subtract,
  multiply,
  divide,
  maximum,
  minimum,
  leaky_relu_grad,  ///< a * (b > 0 ? 1 : slope), slope the parameter: the gradient a through the output b
  greater,
  greater_equal,
  equal,
};

constexpr bool is_comparison(BinaryOp op) { return op >= BinaryOp::greater; }

enum class ReduceOp : std::uint8_t { sum, max };

enum class Distribution : std::uint8_t {
  bits,     ///< i32: the Philox words themselves
  uniform,  ///< [0, 1)
  normal,   ///< mean 0, variance 1
};

/// How matmul and convolutions may compute on f32 operands. tf32 rounds their operands to 10 bits of
/// mantissa.
enum class Math : std::uint8_t { strict, tf32 };

struct MatmulParams {
  bool transpose_a = false;
  bool transpose_b = false;
  Math math = Math::strict;
};

struct Conv2dParams {
  std::int64_t stride_h = 1, stride_w = 1;
  std::int64_t pad_h = 0, pad_w = 0;  ///< zeros on each side
  Math math = Math::strict;
};

struct Pool2dParams {
  std::int64_t kernel_h = 2, kernel_w = 2;
  std::int64_t stride_h = 2, stride_w = 2;
  std::int64_t pad_h = 0,
               pad_w =
                   0;  ///< minus infinity on the top and left; windows are clipped at the bottom and right
};

struct UpFirDnParams {
  std::int64_t up_h = 1, up_w = 1;      ///< zero insertion: u[i * up] = x[i]
  std::int64_t down_h = 1, down_w = 1;  ///< keep every down-th result
  std::int64_t pad_top = 0, pad_bottom = 0, pad_left = 0, pad_right = 0;  ///< zeros; negative crops
  bool flip = false;  ///< false: convolution (the filter is reversed); true: correlation
};

/// A recorded sequence of kernels (a CUDA graph).
class CapturedGraph {
 public:
  virtual ~CapturedGraph() = default;
  /// Enqueues the recorded kernels again on the same addresses.
  virtual void replay() = 0;
};

class Backend : public MemorySource {
 public:
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  virtual std::string_view name() const = 0;
  /// What the run's header prints: processor or card, threads, library versions.
  virtual std::string description() const = 0;
  virtual bool supports(DType dtype) const = 0;
  virtual bool supports(Math math) const = 0;
  /// True where the host may read and write allocated memory directly (after synchronize()).
  virtual bool host_memory() const = 0;

  // --- memory (allocate and release are MemorySource's: bytes at 64-byte alignment, OutOfMemory when there
  // is none). Arrays that kernels see are aligned to 64 bytes too. A backend's destructor calls
  // memory().close() first, since the allocator gives its blocks back through release().
  /// `source` may be reused on return, pinned memory only after the next synchronize(). An error during
  /// capture.
  virtual void copy_from_host(void* destination, const void* source, std::size_t bytes) = 0;
  /// Waits until every earlier kernel is done. An error during capture.
  virtual void copy_to_host(void* destination, const void* source, std::size_t bytes) = 0;
  virtual void copy(void* destination, const void* source, std::size_t bytes) = 0;
  /// Waits for the queue to empty; errors of asynchronous kernels surface here.
  virtual void synchronize() = 0;
  /// Host memory from which copy_from_host is fastest; plain memory unless a device has better.
  virtual void* allocate_pinned(std::size_t bytes);
  virtual void release_pinned(void* pointer);

  // --- capture. A CPU answers with nothing: begin_capture() false means that the caller just runs its
  // function. Where the function throws, the caller still calls end_capture() and drops the result. Storage
  // guards (Storage::set_guard) must be off.
  virtual bool begin_capture() { return false; }
  virtual std::unique_ptr<CapturedGraph> end_capture() { return nullptr; }

  // --- kernels
  /// y[i] = value, converted to y's dtype. Every dtype.
  virtual void fill(Out y, double value) = 0;

  /// For every index in `extent`: y[y_offset + index . y_strides] = x[x_offset + index . x_strides]. Offsets
  /// and strides count elements from the arrays' starts and may be 0 or negative for x; y's elements are
  /// distinct. Every dtype, x's equal to y's. Elements of y that no index reaches keep their values. This one
  /// kernel is permute, slice, pad, concat, flip and broadcast.
  virtual void strided_copy(In x, std::int64_t x_offset, const Strides& x_strides, Out y,
                            std::int64_t y_offset, const Strides& y_strides, const Shape& extent) = 0;

  /// y[i] = x[i] converted. Every pair of dtypes; floating to integer truncates toward zero and saturates,
  /// NaN gives 0.
  virtual void cast(In x, Out y) = 0;

  /// Fills y (bits: i32; else f32, f64 or bf16) from Philox. state is i32 [4] on this backend: seed low, seed
  /// high, draw low, draw high (tensor/philox.h says how words map to elements). bits and uniforms are equal
  /// bit for bit on every backend, normals to 1e-6: elements 2j and 2j+1 are the Box-Muller pair of words 2j,
  /// 2j+1.
  virtual void random(Out y, Distribution distribution, In state) = 0;

  /// y = op(x; a, b), elementwise, one shape.
  virtual void unary(UnaryOp op, In x, Out y, double a, double b) = 0;

  /// y = op(a, b; parameter). a, b and y have one rank; a dimension of a or b equals y's or is 1 (broadcast).
  /// Arithmetic also takes i32. Comparisons write u8 and take every dtype.
  virtual void binary(BinaryOp op, In a, In b, Out y, double parameter) = 0;

  /// y = condition ? a : b, broadcasting as binary does. condition is u8; a, b and y are of any one dtype.
  virtual void where(In condition, In a, In b, Out y) = 0;

  /// y's dimensions equal x's or are 1; those are reduced. An empty sum is 0, an empty max minus infinity; a
  /// max over NaN is NaN. f32 sums err by no more than a pairwise or blocked summation in float32 would. y
  /// may be f32 or f64 where x is bf16 or f32.
  virtual void reduce(ReduceOp op, In x, Out y) = 0;

  /// y[i] = op_a(a[i or 0]) op_b(b[i or 0]) with a [Ba, M, K], b [Bb, K, N] (before transposition flags: a
  /// [Ba, K, M], b [Bb, N, K]), y [B, M, N]; Ba and Bb are B or 1. K = 0 gives zeros.
  virtual void matmul(In a, In b, Out y, const MatmulParams& params) = 0;

  /// Cross-correlation. x [N, H, W, I], w [O, kH, kW, I], y [N, OH, OW, O] with OH = (H + 2 pad - kH) /
  /// stride + 1:
  ///   y[n, p, q, o] = sum over r, s, i of x[n, p stride + r - pad, q stride + s - pad, i] w[o, r, s, i]
  virtual void conv2d(In x, In w, Out y, const Conv2dParams& params) = 0;

  /// The gradient of conv2d with respect to x, which is the transposed convolution. g [N, OH, OW, O], w [O,
  /// kH, kW, I], x [N, H, W, I] of any H, W that conv2d maps to OH, OW. Elements that no window reaches are
  /// 0.
  virtual void conv2d_input_grad(In g, In w, Out x, const Conv2dParams& params) = 0;

  /// The gradient of conv2d with respect to w: x [N, H, W, I], g [N, OH, OW, O], w [O, kH, kW, I].
  virtual void conv2d_weight_grad(In x, In g, Out w, const Conv2dParams& params) = 0;

  /// x [N, H, W, C], y [N, OH, OW, C] the largest value of each window and index (i32, y's shape) its place
  /// flat within one sample: (h W + w) C + c. Of equal values the first in row-major order wins; NaN wins
  /// over every number. The caller chose OH and OW (floor or ceil mode) such that every window touches x.
  virtual void max_pool2d(In x, Out y, Out index, const Pool2dParams& params) = 0;

  /// Upsample, pad, filter, downsample, per channel. x [N, H, W, C], filter [kH, kW] (f32, or f64 where x
  /// is), y [N, OH, OW, C] with OH = (H up + pad_top + pad_bottom - kH) / down + 1. With u the zero-inserted,
  /// padded x of size H up + pads: y[p, q] = sum over r, s of f[r, s] u[p down + r, q down + s], f the
  /// reversed filter (or itself: flip).
  virtual void upfirdn2d(In x, In filter, Out y, const UpFirDnParams& params) = 0;

  /// y[n, m] = x[n, index[n, m]]: x [N, S], index i32 [N, M], y [N, M]. Every index is in [0, S). Every
  /// dtype.
  virtual void gather(In x, In index, Out y) = 0;

  /// y = 0, then y[n, index[n, m]] += x[n, m]: x and index [N, M], y [N, S]. Deterministic, duplicates
  /// included.
  virtual void scatter_add(In x, In index, Out y) = 0;

  /// Optional fused kernels: the interface E if this backend has it, else nullptr. See autograd/fused.h.
  template <class E>
  E* extension() {
    return dynamic_cast<E*>(this);
  }

  /// Where tensors get their memory: a caching allocator over allocate and release.
  CachingAllocator& memory() { return memory_; }

 private:
  CachingAllocator memory_{*this};
};

}  // namespace om
