#include "train/gradient_buckets.h"

#include <algorithm>

namespace om {
namespace {

/// Whether a bucket of `filled` bytes goes on its way while `left` bytes of gradients are still to come,
/// where buckets are of `most` bytes. The last one is sent by the end of the pass.
bool bucket_is_full(std::size_t filled, std::size_t left, std::size_t most) {
  return left > 0 && filled >= std::min(most, std::max(left, most / 8));
}

}  // namespace

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
