// fill, cast, binary and where. An op is chosen once per call; inside, loops over runs vectorise.
#include <cmath>
#include <limits>
#include <type_traits>

#include "tensor/cpu/broadcast.h"
#include "tensor/cpu/convert.h"
#include "tensor/cpu/cpu_backend.h"

namespace om {
namespace {

using namespace cpu;

/// y[i] = f(a[i or 0], b[i or 0]). y may be a or b: every element is read before its own place is written.
template <class T, class Y, class F>
void apply_run(Y* y, std::int64_t count, Run<T> a, Run<T> b, F f) {
  using C = Computed<T>;
  if (a.dense && b.dense) {
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) store(y[i], f(load(a.data[i]), load(b.data[i])));
  } else if (a.dense) {
    const C value = load(*b.data);
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) store(y[i], f(load(a.data[i]), value));
  } else if (b.dense) {
    const C value = load(*a.data);
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) store(y[i], f(value, load(b.data[i])));
  } else {
    Y value;
    store(value, f(load(*a.data), load(*b.data)));
    std::fill_n(y, count, value);
  }
}

template <class T, class Y, class F>
void apply(In a, In b, Out y, F f) {
  broadcast_runs(
      y.as<Y>(), y.shape,
      [f](Y* target, std::int64_t count, Run<T> p, Run<T> q) { apply_run(target, count, p, q, f); },
      Operand<T>{a.as<T>(), a.shape}, Operand<T>{b.as<T>(), b.shape});
}

/// The comparisons are false where either side is NaN.
template <class T>
void compare(BinaryOp op, In a, In b, Out y) {
  using C = Computed<T>;
  using Y = std::uint8_t;
  switch (op) {
    case BinaryOp::greater: return apply<T, Y>(a, b, y, [](C p, C q) { return p > q; });
    case BinaryOp::greater_equal: return apply<T, Y>(a, b, y, [](C p, C q) { return p >= q; });
    case BinaryOp::equal: return apply<T, Y>(a, b, y, [](C p, C q) { return p == q; });
    default: fail("binary: not a comparison");
  }
}

template <class T>
void floating(BinaryOp op, In a, In b, Out y, double parameter) {
  using C = Computed<T>;
  const C slope = static_cast<C>(parameter);
  switch (op) {
    case BinaryOp::add: return apply<T, T>(a, b, y, [](C p, C q) { return p + q; });
    case BinaryOp::subtract: return apply<T, T>(a, b, y, [](C p, C q) { return p - q; });
    case BinaryOp::multiply: return apply<T, T>(a, b, y, [](C p, C q) { return p * q; });
    case BinaryOp::divide: return apply<T, T>(a, b, y, [](C p, C q) { return p / q; });
    case BinaryOp::maximum:  // NaN wins
      return apply<T, T>(a, b, y, [](C p, C q) { return ((p > q) | (p != p)) ? p : q; });
    case BinaryOp::minimum:
      return apply<T, T>(a, b, y, [](C p, C q) { return ((p < q) | (p != p)) ? p : q; });
    case BinaryOp::leaky_relu_grad:
      return apply<T, T>(a, b, y, [slope](C p, C q) { return p * (q > 0 ? C(1) : slope); });
    default: fail("binary: unknown op");
  }
}

/// i32 wraps modulo 2^32; division truncates toward zero, and by zero gives 0.
void integer(BinaryOp op, In a, In b, Out y) {
  using T = std::int32_t;
  using U = std::uint32_t;
  switch (op) {
    case BinaryOp::add: return apply<T, T>(a, b, y, [](T p, T q) { return static_cast<T>(U(p) + U(q)); });
    case BinaryOp::subtract:
      return apply<T, T>(a, b, y, [](T p, T q) { return static_cast<T>(U(p) - U(q)); });
    case BinaryOp::multiply:
      return apply<T, T>(a, b, y, [](T p, T q) { return static_cast<T>(U(p) * U(q)); });
    case BinaryOp::divide:
      return apply<T, T>(
          a, b, y, [](T p, T q) { return q == 0 ? 0 : static_cast<T>(static_cast<std::int64_t>(p) / q); });
    case BinaryOp::maximum: return apply<T, T>(a, b, y, [](T p, T q) { return p > q ? p : q; });
    case BinaryOp::minimum: return apply<T, T>(a, b, y, [](T p, T q) { return p < q ? p : q; });
    default: fail("binary: this op has no i32 form");
  }
}

template <class X, class Y>
void convert_run(const X* __restrict x, Y* __restrict y, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) convert(x[i], y[i]);
}

/// y[i] = condition ? a : b on values that are only moved, so that an unsigned integer of their size will do.
template <class T>
void select(In condition, In a, In b, Out y) {
  const auto kernel = [](T* target, std::int64_t count, Run<std::uint8_t> c, Run<T> p, Run<T> q) {
    if (!c.dense) {
      const Run<T> chosen = *c.data ? p : q;
      if (chosen.dense) {
        if (chosen.data != target) std::copy_n(chosen.data, count, target);
      } else {
        std::fill_n(target, count, *chosen.data);
      }
    } else if (p.dense && q.dense) {
#pragma omp simd
      for (std::int64_t i = 0; i < count; ++i) {
        const T first = p.data[i], second = q.data[i];
        target[i] = c.data[i] ? first : second;
      }
    } else if (p.dense || q.dense) {
      const T* dense = p.dense ? p.data : q.data;
      const T value = p.dense ? *q.data : *p.data;
      const bool keep = p.dense;
#pragma omp simd
      for (std::int64_t i = 0; i < count; ++i) {
        const T element = dense[i];
        target[i] = (c.data[i] != 0) == keep ? element : value;
      }
    } else {
      const T first = *p.data, second = *q.data;
#pragma omp simd
      for (std::int64_t i = 0; i < count; ++i) target[i] = c.data[i] ? first : second;
    }
  };
  broadcast_runs(y.as<T>(), y.shape, kernel,
                 Operand<std::uint8_t>{condition.as<std::uint8_t>(), condition.shape},
                 Operand<T>{a.as<T>(), a.shape}, Operand<T>{b.as<T>(), b.shape});
}

}  // namespace

void CpuBackend::fill(Out y, double value) {
  dispatch(y.dtype, [&]<class T>(Type<T>) {
    T element;
    convert(value, element);
    parallel_tiles(y.shape.elements(), kTile, [&](std::int64_t begin, std::int64_t end) {
      std::fill(y.as<T>() + begin, y.as<T>() + end, element);
    });
  });
}

void CpuBackend::cast(In x, Out y) {
  dispatch(x.dtype, [&]<class X>(Type<X>) {
    dispatch(y.dtype, [&]<class Y>(Type<Y>) {
      parallel_tiles(y.shape.elements(), kTile, [&](std::int64_t begin, std::int64_t end) {
        convert_run(x.as<X>() + begin, y.as<Y>() + begin, end - begin);
      });
    });
  });
}

void CpuBackend::binary(BinaryOp op, In a, In b, Out y, double parameter) {
  dispatch(a.dtype, [&]<class T>(Type<T>) {
    if (is_comparison(op)) return compare<T>(op, a, b, y);
    if constexpr (std::is_same_v<T, std::int32_t>)
      return integer(op, a, b, y);
    else if constexpr (!std::is_integral_v<T>)
      return floating<T>(op, a, b, y, parameter);
    fail("binary: arithmetic has no ", name_of(a.dtype), " form");
  });
}

void CpuBackend::where(In condition, In a, In b, Out y) {
  switch (size_of(y.dtype)) {
    case 8: return select<std::uint64_t>(condition, a, b, y);
    case 4: return select<std::uint32_t>(condition, a, b, y);
    case 2: return select<std::uint16_t>(condition, a, b, y);
    default: return select<std::uint8_t>(condition, a, b, y);
  }
}

}  // namespace om
