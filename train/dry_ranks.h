// Rank 0 of several that are not there: what it gives to sums is counted, and the sums are its own numbers.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tensor/communicator.h"

namespace om {

class DryRanks final : public Communicator {
 public:
  /// `records`: as the engine does that would connect them.
  DryRanks(int size, bool records) : Communicator(0, size), records_(records) {}

  std::string description() const override { return "ranks that are not there"; }
  bool records() const override { return records_; }
  void all_reduce(const std::vector<Tensor>& arrays) override {
    std::size_t bytes = 0;
    for (const Tensor& array : arrays)
      bytes += static_cast<std::size_t>(array.elements()) * size_of(array.dtype());
    if (bytes == 0) return;
    sums_.push_back(bytes);
    kept_.insert(kept_.end(), arrays.begin(), arrays.end());
  }
  void broadcast(const std::vector<Tensor>&, int) override {}
  void join() override { kept_.clear(); }
  void barrier() override {}

  /// Bytes of each sum since forget().
  const std::vector<std::size_t>& sums() const { return sums_; }
  void forget() { sums_.clear(); }

 private:
  bool records_;
  std::vector<std::size_t> sums_;
  std::vector<Tensor> kept_;  // until joined, as an engine keeps them
};

}  // namespace om
