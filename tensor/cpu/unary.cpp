// unary: y = op(x; a, b), contiguous.
#include <algorithm>
#include <cmath>

#include "tensor/cpu/convert.h"
#include "tensor/cpu/cpu_backend.h"
#include "tensor/cpu/loops.h"
#include "tensor/cpu/parallel.h"

namespace om {
namespace {

using namespace cpu;

/// y[i] = f(x[i]); y may be x.
template <class T, class F>
void map(In x, Out y, F f) {
  parallel_tiles(y.shape.elements(), kTile,
                 [f, from = x.as<T>(), to = y.as<T>()](std::int64_t begin, std::int64_t end) {
#pragma omp simd
                   for (std::int64_t i = begin; i < end; ++i) store(to[i], f(load(from[i])));
                 });
}

/// The same for functions of the C library, which do not vectorise: smaller tiles.
template <class T, class F>
void map_costly(In x, Out y, F f) {
  parallel_tiles(y.shape.elements(), kTile / 8,
                 [f, from = x.as<T>(), to = y.as<T>()](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i) store(to[i], f(load(from[i])));
                 });
}

/// In float by way of the double exponential, which is several times faster than the C library's tanhf:
/// (e^2x - 1) / (e^2x + 1), with x for small and 1 for large |x|.
template <class C>
C tanh_of(C x) {
  if constexpr (std::is_same_v<C, double>) {
    return std::tanh(x);
  } else {
    if (std::abs(x) < 1e-4F) return x;
    const double power = std::exp(2.0 * std::min(std::max(x, -20.0F), 20.0F));  // in this order NaN stays NaN
    return static_cast<C>((power - 1) / (power + 1));
  }
}

/// The exponents that occur in practice need no pow.
template <class T>
void power(In x, Out y, double exponent) {
  using C = Computed<T>;
  const C e = static_cast<C>(exponent);
  if (exponent == 1) return map<T>(x, y, [](C v) { return v; });
  if (exponent == 2) return map<T>(x, y, [](C v) { return v * v; });
  if (exponent == 3) return map<T>(x, y, [](C v) { return v * v * v; });
  if (exponent == -1) return map<T>(x, y, [](C v) { return 1 / v; });
  map_costly<T>(x, y, [e](C v) { return std::pow(v, e); });
}

template <class T>
void unary_typed(UnaryOp op, In x, Out y, double a_double, double b_double) {
  using C = Computed<T>;
  const C a = static_cast<C>(a_double), b = static_cast<C>(b_double);
  switch (op) {
    case UnaryOp::affine: return map<T>(x, y, [a, b](C v) { return a * v + b; });
    case UnaryOp::absolute: return map<T>(x, y, [](C v) { return std::abs(v); });
    case UnaryOp::sign: return map<T>(x, y, [](C v) { return v > 0 ? C(1) : v < 0 ? C(-1) : C(0); });
    case UnaryOp::exponential: return map_costly<T>(x, y, [](C v) { return std::exp(v); });
    case UnaryOp::logarithm: return map_costly<T>(x, y, [](C v) { return std::log(v); });
    case UnaryOp::square_root: return map<T>(x, y, [](C v) { return std::sqrt(v); });
    case UnaryOp::rsqrt: return map<T>(x, y, [](C v) { return 1 / std::sqrt(v); });
    case UnaryOp::reciprocal: return map<T>(x, y, [](C v) { return 1 / v; });
    case UnaryOp::power: return power<T>(x, y, a_double);
    case UnaryOp::hyperbolic_tangent: return map_costly<T>(x, y, tanh_of<C>);
    case UnaryOp::sigmoid: return map_costly<T>(x, y, [](C v) { return 1 / (1 + std::exp(-v)); });
    case UnaryOp::leaky_relu:
      if (a == 0) return map<T>(x, y, [](C v) { return v <= 0 ? C(0) : v; });  // 0 at minus infinity too
      return map<T>(x, y, [a](C v) {
        const C scaled = a * v;
        return v > 0 ? v : scaled;
      });
    case UnaryOp::clamp:
      return map<T>(x, y, [a, b](C v) {
        const C raised = v < a ? a : v;
        return raised > b ? b : raised;
      });
    case UnaryOp::floor: return map<T>(x, y, [](C v) { return std::floor(v); });
  }
  fail("unary: unknown op");
}

}  // namespace

void CpuBackend::unary(UnaryOp op, In x, Out y, double a, double b) {
  dispatch_floating("unary", x.dtype, [&]<class T>(Type<T>) { unary_typed<T>(op, x, y, a, b); });
}

}  // namespace om
