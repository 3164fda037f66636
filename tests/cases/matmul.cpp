// Cases of the matrix product: all transpositions, and every way that batches broadcast.
#include "autograd/ops.h"
#include "tests/cases/case.h"

namespace om::cases {
namespace {

void add(std::vector<Case>& cases, const std::string& variant, const Shape& a, const Shape& b,
         bool transpose_a = false, bool transpose_b = false,
         std::uint8_t drivers = kConformance | kGradcheck) {
  cases.push_back({.name = "matmul/" + variant,
                   .inputs = {normal(a), normal(b)},
                   .function = [=](const Inputs& x) { return matmul(x[0], x[1], transpose_a, transpose_b); },
                   .tolerance = 5e-6,
                   .drivers = drivers});
}

/// The four transpositions of [batch_a.., m, k] [batch_b.., k, n].
void add_transpositions(std::vector<Case>& cases, const std::string& variant, const Shape& batch_a,
                        const Shape& batch_b, std::int64_t m, std::int64_t k, std::int64_t n,
                        std::uint8_t drivers = kConformance | kGradcheck) {
  const auto with = [](Shape shape, std::int64_t rows, std::int64_t columns) {
    shape.append(rows);
    shape.append(columns);
    return shape;
  };
  for (const bool ta : {false, true})
    for (const bool tb : {false, true})
      add(cases, variant + (ta ? "_at" : "_a") + (tb ? "_bt" : "_b"),
          ta ? with(batch_a, k, m) : with(batch_a, m, k), tb ? with(batch_b, n, k) : with(batch_b, k, n), ta,
          tb, drivers);
}

}  // namespace

std::vector<Case> matmul_cases() {
  std::vector<Case> cases;
  add_transpositions(cases, "odd", {}, {}, 3, 5, 7);
  add_transpositions(cases, "batched", {2}, {2}, 3, 4, 5);
  add_transpositions(cases, "one_a", {1}, {3}, 2, 4, 3);
  add_transpositions(cases, "one_b", {3}, {}, 2, 4, 3);
  add_transpositions(cases, "crossed", {2, 1}, {1, 3}, 2, 3, 4);
  add_transpositions(cases, "row", {}, {}, 1, 6, 5);
  add_transpositions(cases, "column", {}, {}, 5, 6, 1);
  add_transpositions(cases, "outer", {}, {}, 4, 1, 3);
  add(cases, "size1", {1, 1}, {1, 1});
  add(cases, "crossed_deep", {2, 1, 3, 2, 2}, {4, 1, 2, 3});
  add(cases, "no_rows", {0, 3}, {3, 2});
  add(cases, "no_columns", {2, 3}, {3, 0});
  add(cases, "no_inner", {2, 0}, {0, 3});
  add(cases, "no_batch", {0, 2, 3}, {0, 3, 2});
  add(cases, "no_batch_by_one", {0, 2, 3}, {1, 3, 2});
  add_transpositions(cases, "large", {}, {}, 67, 131, 93, kConformance);
  add_transpositions(cases, "large_batched", {5}, {5}, 33, 65, 17, kConformance);
  add_transpositions(cases, "long", {}, {}, 9, 1031, 13, kConformance);
  // Rows that begin at one and the same distance from the bounds of pages: a backend may copy them.
  add(cases, "pages", {514, 1024}, {1024, 233}, false, false, kConformance);
  add(cases, "pages_transposed", {514, 530}, {514, 233}, true, false, kConformance);
  add(cases, "by_itself_transposed", {4, 3}, {4, 3}, false, true);
  cases.push_back({.name = "matmul/gram",
                   .inputs = {normal({4, 3})},
                   .function = [](const Inputs& x) { return matmul(x[0], x[0], true, false); },
                   .tolerance = 5e-6});
  // Numbers that bf16 holds exactly, so that nothing but a rounded sum could differ.
  cases.push_back({.name = "matmul/f32_sums_of_bf16",
                   .inputs = {grid({3, 37, 65}), grid({3, 19, 65})},
                   .function =
                       [](const Inputs& x) {
                         const PrecisionScope scope(Precision::bf16);
                         return matmul(x[0], x[1], false, true, Sums::f32);
                       },
                   .tolerance = 5e-6,
                   .tolerance_bf16 = 4e-3,  // its gradients are bf16
                   .drivers = kConformance});
  return cases;
}

}  // namespace om::cases
