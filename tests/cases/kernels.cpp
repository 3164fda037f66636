#include "tests/cases/kernels.h"

#include <limits>

namespace om::cases {
namespace {

bool takes_the_cases_dtype(const Input& input) {
  return !input.dtype && input.kind != Input::Kind::index && input.kind != Input::Kind::mask;
}

std::vector<In> views_of(const Inputs& x) {
  std::vector<In> views;
  for (const Tensor& tensor : x) views.push_back(tensor.in());
  return views;
}

Case bare_case(std::string name, std::vector<Input> inputs) {
  Case c;
  c.name = "kernel/" + std::move(name);
  c.inputs = std::move(inputs);
  c.order = 0;
  c.drivers = kConformance;
  return within(1, std::move(c));
}

}  // namespace

Case kernel_case(std::string name, std::vector<Input> inputs, const Shape& y, std::optional<DType> y_dtype,
                 const Kernel& kernel) {
  std::size_t leader = 0;
  while (leader < inputs.size() && !takes_the_cases_dtype(inputs[leader])) ++leader;
  if (leader == inputs.size() && !y_dtype) fail("cases: ", name, ": no input has the case's dtype");
  Case c = bare_case(std::move(name), std::move(inputs));
  if (y_dtype) c.also = {*y_dtype};
  c.function = [=](const Inputs& x) {
    const Tensor result = Tensor::empty(y, y_dtype ? *y_dtype : x[leader].dtype(), x[0].backend());
    kernel(x[0].backend(), views_of(x), result.out());
    return result;
  };
  return c;
}

Case kernel_case_over_first(std::string name, std::vector<Input> inputs, const Kernel& kernel) {
  Case c = bare_case(std::move(name), std::move(inputs));
  c.function = [=](const Inputs& x) {
    Inputs own = x;
    own[0] = x[0].clone();
    kernel(x[0].backend(), views_of(own), own[0].out());
    return own[0];
  };
  return c;
}

Case exact_in(std::vector<DType> dtypes, Case c) {
  c.dtypes = std::move(dtypes);
  c.exact = true;
  return c;
}

Case within(double factor, Case c) {
  c.scale = harness::Rule::Scale::each;
  c.tolerance = 3e-6 * factor;
  c.tolerance_f64 = 1e-13 * factor;
  c.tolerance_bf16 = factor / 250;
  return c;
}

Case nonfinite(Case c) {
  c.nonfinite = true;
  return c;
}

Input dtype_of_case() { return values({0}, {}); }

std::string shape_name(const Shape& shape) {
  if (shape.rank() == 0) return "scalar";
  std::string name;
  for (const std::int64_t size : shape) name += (name.empty() ? "" : "x") + std::to_string(size);
  return name;
}

Input special_numbers() {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  return values({14}, {0, -0.0, 1, -1, 0.5, -0.5, 2.5, -2.5, nan, inf, -inf, 1e-3, 60, -60});
}

}  // namespace om::cases
