// The products of Winograd's convolutions: many small ones, a few for each plane, with the same number of
// rows.
#pragma once

#include <algorithm>
#include <array>

#include "tensor/cpu/gemm.h"

namespace om::cpu {

/// Less is not worth a team and its barriers.
inline int winograd_threads(double flops) {
  constexpr double kTeamFlops = 1e7;
  return flops < kTeamFlops ? 1 : threads();
}

/// C (+)= A B for a panel of B: of A, columns [a, a + length) of every row; of C, columns [c, c + columns).
struct WinogradProduct {
  const float* panel;
  std::int64_t a, length, c, columns;
  bool add;
};

/// Products that share their rows of A, whose numbers are `step` apart, and of C.
class WinogradProducts {
 public:
  static constexpr std::int64_t kMostRows = 288;  // a multiple of every kernel's rows

  /// row(t) is row t of A, c(t) of C. With `far`, the panels come from beyond the second-level cache: each is
  /// fetched during the product before it.
  template <class Row, class RowC>
  WinogradProducts(std::int64_t count, std::int64_t step, bool far, const Row& row, const RowC& c)
      : count_(count), step_(step), far_(far) {
    const std::int64_t padded = round_up(count, kernel_.rows);
    for (std::int64_t t = 0; t < padded; ++t) {
      rows_[static_cast<std::size_t>(t)] = row(std::min(t, count - 1));
      c_[static_cast<std::size_t>(t)] = c(std::min(t, count - 1));
    }
  }

  void push(const WinogradProduct& product) {
    if (size_ == kMost) run();
    products_[static_cast<std::size_t>(size_++)] = product;
  }

  /// What was pushed since the last run.
  void run() {
    for (std::int64_t i = 0; i < size_; ++i) {
      const WinogradProduct& p = products_[static_cast<std::size_t>(i)];
      const bool fetches = far_ && i + 1 < size_;
      const float* ahead = fetches ? products_[static_cast<std::size_t>(i + 1)].panel : p.panel;
      const std::int64_t lines = fetches ? lines_ahead<float>(count_) : 0;
      for (std::int64_t t = 0; t < count_; t += kernel_.rows, ahead += p.length * lines)
        kernel_.multiply_tile({&rows_[static_cast<std::size_t>(t)], 1, p.a, p.length, step_, p.panel,
                               kernel_.columns, &c_[static_cast<std::size_t>(t)], p.c,
                               std::min<std::int64_t>(kernel_.rows, count_ - t), p.columns, p.add, ahead,
                               lines});
    }
    size_ = 0;
  }

 private:
  static constexpr std::int64_t kMost = 144;

  const Kernels<float>& kernel_ = kernels<float>();
  std::int64_t count_, step_, size_ = 0;
  bool far_;
  std::array<const float*, kMostRows> rows_;
  std::array<float*, kMostRows> c_;
  std::array<WinogradProduct, kMost> products_;
};

}  // namespace om::cpu
