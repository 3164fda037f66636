#include "train/gradient_buckets.h"

namespace om {

void GradientBuckets::add(const Tensor& gradient) {
  open_.push_back(gradient);
  filled_ += static_cast<std::size_t>(gradient.elements()) * size_of(gradient.dtype());
  if (filled_ >= bytes_) send();
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
