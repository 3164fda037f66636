// What an outside user does first: a tensor, a function of it, its gradient; and one call into io, so that
// its libraries must be found too. Exit code 0 where d/dx sum(x^2) = 2 x.
#include <autograd/grad.h>
#include <autograd/ops.h>
#include <tensor/registry.h>
#include <tensor/tensor.h>
#ifndef WITHOUT_FILES
#include <io/safetensors.h>
#endif

#include <iostream>
#include <vector>

int main() {
  om::Backend& cpu = om::backend("cpu");
  const om::Tensor x = om::require_grad(om::Tensor::from_host(std::vector<float>{1, -2, 3}, {3}, cpu));
  const std::vector<float> gradient = om::grad({om::sum(om::square(x))}, {x})[0].to_host<float>();
  std::cout << "d/dx sum(x^2) at (1, -2, 3):";
  for (const float value : gradient) std::cout << ' ' << value;
  std::cout << '\n';
#ifndef WITHOUT_FILES
  try {
    om::read_safetensors("/nonexistent.safetensors");
    return 1;
  } catch (const std::exception& error) {
    std::cout << error.what() << '\n';
  }
#endif
  return gradient == std::vector<float>{2, -4, 6} ? 0 : 1;
}
