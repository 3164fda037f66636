// Shapes and strides. A shape is a short list of sizes, outermost first; images are [N, H, W, C].
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <span>
#include <string>

#include "tensor/error.h"

namespace om {

constexpr int kMaxRank = 8;

/// Elements to step over per dimension; may be 0 (broadcast) or negative (flip).
using Strides = std::array<std::int64_t, kMaxRank>;

/// a + b and a b; Error where the result is beyond 64 bits.
inline std::int64_t checked_sum(const char* op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  if (__builtin_add_overflow(a, b, &result)) fail(op, ": sizes too large, ", a, " + ", b);
  return result;
}
inline std::int64_t checked_product(const char* op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  if (__builtin_mul_overflow(a, b, &result)) fail(op, ": sizes too large, ", a, " x ", b);
  return result;
}

class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> sizes) : Shape(std::span(sizes.begin(), sizes.size())) {}
  explicit Shape(std::span<const std::int64_t> sizes) {
    if (sizes.size() > kMaxRank) fail("shape: at most ", kMaxRank, " dimensions, got ", sizes.size());
    for (std::int64_t size : sizes) append(size);
  }

  int rank() const { return rank_; }
  /// Size of dimension i; negative i counts from the back.
  std::int64_t operator[](int i) const { return sizes_[index(i)]; }
  std::int64_t& operator[](int i) { return sizes_[index(i)]; }
  const std::int64_t* begin() const { return sizes_.data(); }
  const std::int64_t* end() const { return sizes_.data() + rank_; }

  void append(std::int64_t size) {
    if (rank_ == kMaxRank) fail("shape: at most ", kMaxRank, " dimensions");
    if (size < 0) fail("shape: negative size ", size);
    sizes_[rank_++] = size;
  }

  /// Number of elements; 1 for a scalar shape []. Error where the sizes other than 0 multiply to 2^63 or
  /// more.
  std::int64_t elements() const {
    std::int64_t count = 1;
    bool empty = false;
    for (const std::int64_t size : *this) {
      empty = empty || size == 0;
      if (size != 0 && __builtin_mul_overflow(count, size, &count))
        fail("shape: ", *this, " has too many elements");
    }
    return empty ? 0 : count;
  }

  /// Strides of the dense row-major layout, in elements. Error as of elements().
  Strides strides() const {
    static_cast<void>(elements());
    Strides strides{};
    std::int64_t step = 1;
    for (int i = rank_ - 1; i >= 0; --i) {
      strides[i] = step;
      step *= sizes_[i];
    }
    return strides;
  }

  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i)
      if (a.sizes_[i] != b.sizes_[i]) return false;
    return true;
  }

  friend std::ostream& operator<<(std::ostream& out, const Shape& shape) {
    out << '[';
    for (int i = 0; i < shape.rank_; ++i) out << (i ? ", " : "") << shape.sizes_[i];
    return out << ']';
  }

 private:
  int index(int i) const {
    const int j = i < 0 ? i + rank_ : i;
    if (j < 0 || j >= rank_) fail("shape: dimension ", i, " of a shape of rank ", rank_);
    return j;
  }

  std::array<std::int64_t, kMaxRank> sizes_{};
  int rank_ = 0;
};

}  // namespace om
