// The cpu backend's matmul against the reference backend in double, on shapes that reach every path and edge
// of its tiles.
#include "tests/tensor/contraction_check.h"

namespace om {
namespace {

using contraction_check::check;
using contraction_check::Kernel;

struct MatmulCase {
  std::int64_t batch_a, batch_b, m, n, k;
};

std::vector<MatmulCase> matmul_cases() {
  return {{1, 1, 1, 1, 1},    {1, 1, 0, 5, 3},      {1, 1, 4, 0, 3},     {0, 0, 3, 4, 5},
          {1, 1, 7, 5, 0},    {1, 1, 1, 512, 512},  {1, 1, 512, 1, 65},  {1, 1, 4, 67, 129},
          {1, 1, 5, 17, 33},  {3, 3, 6, 16, 8},     {1, 3, 7, 31, 100},  {3, 1, 2, 130, 40},
          {2, 2, 97, 3, 385}, {1, 1, 97, 33, 769},  {1, 1, 600, 70, 50}, {1, 1, 1030, 17, 5},
          {4, 4, 64, 64, 64}, {1, 1, 513, 65, 400}, {2, 1, 260, 48, 90}, {1, 1, 3, 1000, 7}};
}

TEST(Matmul, AgreesWithReference) {
  for (const MatmulCase& c : matmul_cases())
    for (const bool ta : {false, true})
      for (const bool tb : {false, true}) {
        const Shape a = ta ? Shape{c.batch_a, c.k, c.m} : Shape{c.batch_a, c.m, c.k};
        const Shape b = tb ? Shape{c.batch_b, c.n, c.k} : Shape{c.batch_b, c.k, c.n};
        const Shape y{std::max(c.batch_a, c.batch_b), c.m, c.n};
        const Kernel kernel = [&](Backend& backend, In p, In q, Out r) {
          backend.matmul(p, q, r, {.transpose_a = ta, .transpose_b = tb});
        };
        check(kernel, a, b, y, text("a ", a, " b ", b, " transposed ", ta, tb));
      }
}

}  // namespace
}  // namespace om
