#include "train/gradient_buckets.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace om {

bool bucket_is_full(std::size_t filled, std::size_t left, std::size_t most) {
  return left > 0 && filled >= std::min(most, std::max(left, most / 8));
}

std::vector<std::size_t> bucket_plan(const std::vector<std::size_t>& sizes, std::size_t most) {
  std::vector<std::size_t> plan;
  std::size_t left = std::accumulate(sizes.begin(), sizes.end(), std::size_t{0}), filled = 0;
  for (const std::size_t size : sizes) {
    filled += size;
    left -= size;
    if (bucket_is_full(filled, left, most)) plan.push_back(std::exchange(filled, 0));
  }
  if (filled > 0) plan.push_back(filled);
  return plan;
}

void GradientBuckets::add(const Tensor& gradient) {
  const std::size_t bytes = static_cast<std::size_t>(gradient.elements()) * size_of(gradient.dtype());
  open_.push_back(gradient);
  filled_ += bytes;
  left_ -= std::min(left_, bytes);
  if (bucket_is_full(filled_, left_, bytes_)) send();
}

void GradientBuckets::finish(const std::vector<Tensor>& more) {
  open_.insert(open_.end(), more.begin(), more.end());
  send();
  together_.join();
}

void GradientBuckets::send() {
  together_.all_reduce(open_);
  open_.clear();
  filled_ = 0;
}

}  // namespace om
