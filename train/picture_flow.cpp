#include "train/picture_flow.h"

#include <algorithm>

#include "io/resize.h"
#include "tensor/registry.h"

namespace om {

int flow_threads(const Backend& backend) {
  return backend.host_memory() ? std::min(1, threads() - 1) : threads();
}

ImagePair resized_pair(const Image& image, std::int64_t side) {
  const Image resized = resize_bilinear(image, static_cast<int>(side), static_cast<int>(side));
  return {resized, resized};
}

}  // namespace om
