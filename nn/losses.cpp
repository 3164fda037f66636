#include "nn/losses.h"

#include "autograd/ops.h"

namespace om {

Tensor sum_of_mse(const Tensor& x, const Tensor& y) {
  const double elements_per_image = static_cast<double>(x.elements()) / static_cast<double>(x.size(0));
  return sum(square(x - y)) / elements_per_image;
}

}  // namespace om
