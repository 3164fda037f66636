// Backend: everything a device must provide. A port is one folder that implements this class, plus one
// line in tensor/registry.cpp; `conformance --backend NAME` then checks every kernel against the reference
// backend in double. docs/porting.md is the guide.
//
// A kernel computes and nothing else: no shape checks (the ops in autograd/ made them), no allocation of
// results, no derivatives, never a host value in return. Kernels run asynchronously but in order on the one
// queue of the backend. Scratch memory is taken from memory() and may be freed before the kernel ran, since
// the queue orders its reuse. One thread at a time calls a backend; what may be called beside it says so.
//
// Arrays are dense and row-major; images are [N, H, W, C], convolution weights [O, kH, kW, I]. Sizes and
// offsets are 64-bit. Any size may be 0, and an array of no elements may have no address (null). Other
// arrays begin anywhere within what allocate() gave, at a multiple of 64 bytes: a device whose memory is
// objects has to find object and offset from an address. Outputs never alias inputs, except that unary,
// binary and where may write over an operand of the output's own shape and dtype. Outputs are assigned
// unless a contract says "adds".
//
// Floating kernels take f32, f64 and bf16 with all operands and the result of one dtype, unless stated
// otherwise. bf16 is a storage type: arithmetic and accumulation run in float32 and each result is rounded
// once. matmul and the three convolution kernels may also be asked for an f32 result of bf16 operands: the
// float32 sums as they are, without that rounding. Scalars (a value, a slope, bounds) come as double and may
// be rounded to the type of the arithmetic first. Repeating a kernel on the same inputs gives the same bits,
// whatever the number of threads. NaN, infinities, subnormal numbers and integers: the end of this file.
//
// A device may lack f64, bf16 or tf32 (supports()); no kernel is then called with it, and everything above
// runs without it: networks, training and their files need f32, i32 and u8 alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
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
  sign,         ///< -1, 0 or 1; 0 for NaN
  exponential,  ///< e^x
  logarithm,    ///< ln x
  square_root,  ///< sqrt(x)
  rsqrt,        ///< 1 / sqrt(x)
  reciprocal,   ///< 1 / x
  power,        ///< x^a; 1 where a = 0
  hyperbolic_tangent,
  sigmoid,     ///< 1 / (1 + e^-x)
  leaky_relu,  ///< x > 0 ? x : a x, and 0 where a = 0 (relu; of minus infinity too); NaN stays NaN
  clamp,       ///< min(max(x, a), b), so b where a > b; NaN stays NaN
  floor,       ///< largest integer <= x
};

/// y = f(a, b). The comparisons write u8 (1 or 0).
enum class BinaryOp : std::uint8_t {
  add,
  subtract,
  multiply,
  divide,
  maximum,          ///< NaN wins
  minimum,          ///< NaN wins
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

/// How matmul and convolutions may compute on f32 operands: as they are, or rounded to 10 bits of mantissa
/// (tf32).
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
  /// Minus infinity on the top and left; windows are clipped at the bottom and right.
  std::int64_t pad_h = 0, pad_w = 0;
};

struct UpFirDnParams {
  std::int64_t up_h = 1, up_w = 1;      ///< zero insertion: u[i * up] = x[i]
  std::int64_t down_h = 1, down_w = 1;  ///< keep every down-th result
  /// Zeros; negative crops.
  std::int64_t pad_top = 0, pad_bottom = 0, pad_left = 0, pad_right = 0;
  /// False: convolution (the filter is reversed); true: correlation.
  bool flip = false;
};

/// A recorded sequence of kernels (a CUDA graph).
class CapturedGraph {
 public:
  virtual ~CapturedGraph() = default;
  /// Enqueues the recorded kernels again on the same addresses.
  virtual void replay() = 0;
};

/// Bytes on their way to the host (Backend::read_later). It may be waited for and ended on any thread, one at
/// a time, while the backend lives.
class PendingRead {
 public:
  virtual ~PendingRead() = default;
  /// Whether they are there; never waits.
  virtual bool arrived() = 0;
  /// Waits for them. They stay until this object ends. Errors of asynchronous kernels surface here.
  virtual std::span<const std::byte> wait() = 0;
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
  /// True where the host may read and write allocated memory directly (after synchronize()). It says nothing
  /// of a queue or of recording: a device that is the host's own processor may still be spoken to by copies.
  virtual bool host_memory() const = 0;

  // --- memory. allocate and release are MemorySource's: bytes at 64-byte alignment, OutOfMemory when there
  // is none. Arrays that kernels see are aligned to 64 bytes too. A backend's destructor first calls
  // memory().close(), since the allocator gives its blocks back through release(). release() may be called
  // from any thread, and while kernels that use the memory still wait in the queue.

  /// `source` may be reused on return, pinned memory only after the next synchronize(). During capture it
  /// is an error.
  virtual void copy_from_host(void* destination, const void* source, std::size_t bytes) = 0;
  /// Waits until every earlier kernel is done. An error during capture.
  virtual void copy_to_host(void* destination, const void* source, std::size_t bytes) = 0;
  /// copy_to_host without the waiting: the copy takes its place in the queue, and `source` may be overwritten
  /// or freed after the call. Where there is no queue it copies at once. An error during capture.
  virtual std::unique_ptr<PendingRead> read_later(const void* source, std::size_t bytes);
  /// On the device; the two do not overlap.
  virtual void copy(void* destination, const void* source, std::size_t bytes) = 0;
  /// Waits for the queue to empty; errors of asynchronous kernels surface here.
  virtual void synchronize() = 0;
  /// Host memory from which copy_from_host is fastest; plain memory unless a device has better.
  virtual void* allocate_pinned(std::size_t bytes);
  virtual void release_pinned(void* pointer);

  // --- capture. What cannot record answers with nothing: begin_capture() false means that the caller just
  // runs its function. Where the function throws, the caller still calls end_capture() and drops the result.
  // Guards around storages (Storage::set_guard) must be off.

  /// Whether begin_capture() records.
  virtual bool records() const { return false; }
  virtual bool begin_capture() { return false; }
  virtual std::unique_ptr<CapturedGraph> end_capture() { return nullptr; }

  // --- kernels
  /// y[i] = value, converted to y's dtype as cast does. Every dtype.
  virtual void fill(Out y, double value) = 0;

  /// For every index in `extent`: y[y_offset + index . y_strides] = x[x_offset + index . x_strides].
  /// Offsets and strides count elements from the arrays' starts and may be 0 or negative for x; the
  /// elements of y are distinct. Strides beyond the extent's rank, and in dimensions of size 1, say nothing.
  /// Every dtype, the same for x and y. Elements of y that no index reaches keep their values. This one
  /// kernel is permute, slice, pad, concat, flip and broadcast.
  virtual void strided_copy(In x, std::int64_t x_offset, const Strides& x_strides, Out y,
                            std::int64_t y_offset, const Strides& y_strides, const Shape& extent) = 0;

  /// y[i] = x[i] converted. Every pair of dtypes; floating to integer truncates toward zero and saturates,
  /// as does i32 to u8; NaN gives 0. What becomes bf16 is rounded to f32 first, and so may be rounded twice.
  virtual void cast(In x, Out y) = 0;

  /// Fills y (bits: i32; else f32, f64 or bf16) from Philox. state is i32 [4] on this backend: seed low,
  /// seed high, draw low, draw high (tensor/philox.h says how words map to elements). Bits and uniforms are
  /// equal bit for bit on every backend, normals to 1e-6 (1 + |y|), also without double: elements 2j and 2j +
  /// 1 are the Box-Muller pair of the words 2j and 2j + 1.
  virtual void random(Out y, Distribution distribution, In state) = 0;

  /// y = op(x; a, b), elementwise, one shape.
  virtual void unary(UnaryOp op, In x, Out y, double a, double b) = 0;

  /// y = op(a, b; parameter). a, b and y have one rank; a dimension of a or b equals y's or is 1 (broadcast).
  /// Arithmetic also takes i32. Comparisons write u8 and take every dtype.
  virtual void binary(BinaryOp op, In a, In b, Out y, double parameter) = 0;

  /// y = condition ? a : b, broadcasting as binary does. condition is u8; a, b and y are of any one dtype.
  virtual void where(In condition, In a, In b, Out y) = 0;

  /// The dimensions of y equal those of x or are 1; the latter are reduced. An empty sum is 0, an empty max
  /// minus infinity; a max over NaN is NaN. f32 sums err by no more than a pairwise or blocked summation in
  /// float32 would. y may be f32 or f64 where x is bf16 or f32.
  virtual void reduce(ReduceOp op, In x, Out y) = 0;

  /// y[i] = op_a(a[i or 0]) op_b(b[i or 0]) with y [B, M, N], a [Ba, M, K] or with transpose_a [Ba, K, M],
  /// b [Bb, K, N] or with transpose_b [Bb, N, K]; Ba and Bb are B or 1. K = 0 gives zeros. y may be f32
  /// where a and b are bf16.
  virtual void matmul(In a, In b, Out y, const MatmulParams& params) = 0;

  /// Cross-correlation of x [N, H, W, I] with w [O, kH, kW, I]. y is [N, OH, OW, O] with
  ///   OH = (H + 2 pad - kH) / stride + 1
  ///   y[n, p, q, o] = sum over r, s, i of x[n, p stride + r - pad, q stride + s - pad, i] w[o, r, s, i]
  /// y may be f32 where x and w are bf16; so may the results of the two gradients.
  virtual void conv2d(In x, In w, Out y, const Conv2dParams& params) = 0;

  /// The gradient of conv2d with respect to x, which is the transposed convolution: g [N, OH, OW, O],
  /// w [O, kH, kW, I], x [N, H, W, I] of any H, W that conv2d maps to OH, OW. Elements that no window
  /// reaches are 0.
  virtual void conv2d_input_grad(In g, In w, Out x, const Conv2dParams& params) = 0;

  /// The gradient of conv2d with respect to w: x [N, H, W, I], g [N, OH, OW, O], w [O, kH, kW, I].
  virtual void conv2d_weight_grad(In x, In g, Out w, const Conv2dParams& params) = 0;

  /// x [N, H, W, C], y [N, OH, OW, C] the largest value of each window and index (i32, y's shape) its place
  /// flat within one sample: (h W + w) C + c, at most 2^31 - 1. Of equal values the first in row-major
  /// order wins; NaN wins over every number. The caller chose OH and OW (floor or ceil mode) such that every
  /// window touches x.
  virtual void max_pool2d(In x, Out y, Out index, const Pool2dParams& params) = 0;

  /// Upsample, pad, filter, downsample, per channel. x [N, H, W, C], filter [kH, kW] (f32, or f64 where x
  /// is), y [N, OH, OW, C]. With u the zero-inserted, padded x of size H up + pads and f the reversed filter
  /// (or itself: flip),
  ///   OH = (H up + pad_top + pad_bottom - kH) / down + 1
  ///   y[p, q] = sum over r, s of f[r, s] u[p down + r, q down + s]
  virtual void upfirdn2d(In x, In filter, Out y, const UpFirDnParams& params) = 0;

  /// y[n, m] = x[n, index[n, m]]: x [N, S] of every dtype, index i32 [N, M], y [N, M]. Every index is in
  /// [0, S).
  virtual void gather(In x, In index, Out y) = 0;

  /// y = 0, then y[n, index[n, m]] += x[n, m]: x and index [N, M], y [N, S]. Deterministic, duplicates
  /// included.
  virtual void scatter_add(In x, In index, Out y) = 0;

  /// Optional fused kernels: the interface E of tensor/fused.h if this backend has it, else nullptr.
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

// NaN, infinities, subnormal numbers and integers. The table of cases (tests/cases) holds every line of this.
//
// NaN and infinities follow IEEE 754 through arithmetic (no kernel is compiled to assume that there are
// none), so NaN stays NaN through unary and binary ops, sums, matmul, convolutions and upfirdn2d. An
// algorithm that shares sums between results (Winograd's) may carry NaN and infinity on to results near by,
// as NaN, and products with zeros that a kernel inserted itself (padding, zero insertion) may be formed or
// left out. Where a comparison decides:
//   - absolute, floor, clamp, leaky_relu: NaN stays NaN. sign(NaN) = 0.
//   - leaky_relu with slope 0 (relu) is 0 for every x <= 0, minus infinity included.
//   - power(x, 0) = 1 for every x, NaN included.
//   - maximum, minimum, reduce max, max_pool2d: NaN wins over every number.
//   - greater, greater_equal, equal: false (0) where either side is NaN.
//   - leaky_relu_grad, where b is NaN: as where b <= 0.
//   - cast to an integer: NaN gives 0, numbers beyond the range its ends; fill likewise.
// Which NaN (sign, payload) is not said; nor is the sign of a zero, but by fill, cast between floating types
// and the kernels that only move (strided_copy, where, gather).
//
// Subnormal numbers are kept by fill, cast and the kernels that only move; arithmetic may take them for zeros
// of their sign, and give such zeros for them.
//
// Integers: i32 add, subtract and multiply wrap modulo 2^32. Division truncates toward zero; by zero it
// gives 0, and -2^31 / -1 wraps to -2^31. leaky_relu_grad has no i32 form. No kernel traps, whatever its
// numbers.
