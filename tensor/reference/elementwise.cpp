// Elementwise kernels, random numbers, reductions.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "tensor/philox.h"
#include "tensor/reference/reference_backend.h"

namespace om {
namespace {

using namespace reference;

double apply(UnaryOp op, double x, double a, double b) {
  switch (op) {
    case UnaryOp::affine: return a * x + b;
    case UnaryOp::absolute: return std::abs(x);
    case UnaryOp::sign: return (x > 0) - (x < 0);
    case UnaryOp::exponential: return std::exp(x);
    case UnaryOp::logarithm: return std::log(x);
    case UnaryOp::square_root: return std::sqrt(x);
    case UnaryOp::rsqrt: return 1 / std::sqrt(x);
    case UnaryOp::reciprocal: return 1 / x;
    case UnaryOp::power: return std::pow(x, a);
    case UnaryOp::hyperbolic_tangent: return std::tanh(x);
    case UnaryOp::sigmoid: return 1 / (1 + std::exp(-x));
    case UnaryOp::leaky_relu: return x > 0 || std::isnan(x) ? x : a == 0 ? 0 : a * x;
    case UnaryOp::clamp: return std::isnan(x) ? x : std::min(std::max(x, a), b);
    case UnaryOp::floor: return std::floor(x);
  }
  fail("unary: unknown op");
}

double larger(double a, double b) { return std::isnan(a) || a > b ? a : b; }   // NaN wins
double smaller(double a, double b) { return std::isnan(a) || a < b ? a : b; }  // NaN wins

double apply(BinaryOp op, double a, double b, double parameter) {
  switch (op) {
    case BinaryOp::add: return a + b;
    case BinaryOp::subtract: return a - b;
    case BinaryOp::multiply: return a * b;
    case BinaryOp::divide: return a / b;
    case BinaryOp::maximum: return larger(a, b);
    case BinaryOp::minimum: return smaller(a, b);
    case BinaryOp::leaky_relu_grad: return a * (b > 0 ? 1 : parameter);
    case BinaryOp::greater: return a > b;
    case BinaryOp::greater_equal: return a >= b;
    case BinaryOp::equal: return a == b;
  }
  fail("binary: unknown op");
}

/// i32 arithmetic wraps modulo 2^32; division truncates toward zero, and by zero gives 0.
std::int32_t apply_integer(BinaryOp op, std::int64_t a, std::int64_t b) {
  switch (op) {
    case BinaryOp::add: return static_cast<std::int32_t>(a + b);
    case BinaryOp::subtract: return static_cast<std::int32_t>(a - b);
    case BinaryOp::multiply: return static_cast<std::int32_t>(a * b);
    case BinaryOp::divide: return static_cast<std::int32_t>(b == 0 ? 0 : a / b);
    case BinaryOp::maximum: return static_cast<std::int32_t>(std::max(a, b));
    case BinaryOp::minimum: return static_cast<std::int32_t>(std::min(a, b));
    default: fail("binary: this op has no i32 form");
  }
}

}  // namespace

void ReferenceBackend::cast(In x, Out y) {
  dispatch(x.dtype, [&]<class X>(Type<X>) {
    dispatch(y.dtype, [&]<class Y>(Type<Y>) {
      for (std::int64_t i = 0; i < y.shape.elements(); ++i)
        y.as<Y>()[i] = convert<Y>(static_cast<double>(x.as<X>()[i]));
    });
  });
}

void ReferenceBackend::random(Out y, Distribution distribution, In state) {
  const auto* words = state.as<std::uint32_t>();
  const philox::State from{words[0] | std::uint64_t{words[1]} << 32,
                           words[2] | std::uint64_t{words[3]} << 32};
  const auto word = [&](std::int64_t i) {
    return philox::block(from, static_cast<std::uint64_t>(i) / 4)[static_cast<std::size_t>(i % 4)];
  };
  for (std::int64_t i = 0; i < y.shape.elements(); ++i) {
    if (distribution == Distribution::bits) {
      y.as<std::uint32_t>()[i] = word(i);
      continue;
    }
    double value = philox::uniform(word(i));
    if (distribution == Distribution::normal) {
      const std::int64_t pair = i - i % 2;
      const double radius = std::sqrt(-2 * std::log(philox::radius_uniform(word(pair))));
      const double angle = 2 * std::numbers::pi * philox::angle_uniform(word(pair + 1));
      value = radius * (i == pair ? std::cos(angle) : std::sin(angle));
    }
    dispatch_floating("random", y.dtype, [&]<class T>(Type<T>) { y.as<T>()[i] = convert<T>(value); });
  }
}

void ReferenceBackend::unary(UnaryOp op, In x, Out y, double a, double b) {
  dispatch_floating("unary", x.dtype, [&]<class T>(Type<T>) {
    for (std::int64_t i = 0; i < y.shape.elements(); ++i)
      y.as<T>()[i] = convert<T>(apply(op, static_cast<double>(x.as<T>()[i]), a, b));
  });
}

void ReferenceBackend::binary(BinaryOp op, In a, In b, Out y, double parameter) {
  const Strides a_strides = broadcast_strides(a.shape), b_strides = broadcast_strides(b.shape);
  dispatch(a.dtype, [&]<class T>(Type<T>) {
    std::int64_t i = 0;
    for_each_index(y.shape, [&](const Index& index) {
      const T p = a.as<T>()[dot(index, a_strides)], q = b.as<T>()[dot(index, b_strides)];
      if (is_comparison(op)) {
        y.as<std::uint8_t>()[i] = apply(op, static_cast<double>(p), static_cast<double>(q), parameter) != 0;
      } else if constexpr (std::is_same_v<T, std::int32_t>) {
        y.as<T>()[i] = apply_integer(op, p, q);
      } else {
        y.as<T>()[i] = convert<T>(apply(op, static_cast<double>(p), static_cast<double>(q), parameter));
      }
      ++i;
    });
  });
}

void ReferenceBackend::where(In condition, In a, In b, Out y) {
  const Strides c_strides = broadcast_strides(condition.shape);
  const Strides a_strides = broadcast_strides(a.shape), b_strides = broadcast_strides(b.shape);
  dispatch(y.dtype, [&]<class T>(Type<T>) {
    std::int64_t i = 0;
    for_each_index(y.shape, [&](const Index& index) {
      y.as<T>()[i++] = condition.as<std::uint8_t>()[dot(index, c_strides)] ? a.as<T>()[dot(index, a_strides)]
                                                                           : b.as<T>()[dot(index, b_strides)];
    });
  });
}

void ReferenceBackend::reduce(ReduceOp op, In x, Out y) {
  const bool sum = op == ReduceOp::sum;
  const Strides y_strides = broadcast_strides(y.shape);
  std::vector<double> result(static_cast<std::size_t>(y.shape.elements()),
                             sum ? 0.0 : -std::numeric_limits<double>::infinity());
  dispatch_floating("reduce", x.dtype, [&]<class T>(Type<T>) {
    std::int64_t i = 0;
    for_each_index(x.shape, [&](const Index& index) {
      double& total = result[static_cast<std::size_t>(dot(index, y_strides))];
      const double value = static_cast<double>(x.as<T>()[i++]);
      total = sum ? total + value : larger(total, value);
    });
  });
  dispatch_floating("reduce", y.dtype, [&]<class T>(Type<T>) {
    for (std::size_t i = 0; i < result.size(); ++i) y.as<T>()[i] = convert<T>(result[i]);
  });
}

void ReferenceBackend::scatter_add(In x, In index, Out y) {
  const std::int64_t m = x.shape[1], s = y.shape[1];
  std::vector<double> sums(static_cast<std::size_t>(y.shape.elements()), 0.0);
  dispatch_floating("scatter_add", x.dtype, [&]<class T>(Type<T>) {
    for (std::int64_t i = 0; i < x.shape.elements(); ++i)
      sums[static_cast<std::size_t>(i / m * s + index.as<std::int32_t>()[i])] +=
          static_cast<double>(x.as<T>()[i]);
    for (std::size_t i = 0; i < sums.size(); ++i) y.as<T>()[i] = convert<T>(sums[i]);
  });
}

}  // namespace om
