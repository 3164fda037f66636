// Golden operations: single ops and their gradients as PyTorch computes them. make_ops.py writes the file and
// says how its tensors are named.
#include <sstream>

#include "autograd/fused.h"
#include "autograd/grad.h"
#include "autograd/ops.h"
#include "nn/batch_norm.h"
#include "tests/golden/golden_case.h"

namespace om::golden {
namespace {

constexpr double kTolerance = 1e-5;

/// A case within the file.
struct Operation {
  const Case& file;
  std::string name;
  Backend& backend;
  std::string kind = {};
  std::vector<std::int64_t> numbers = {};
  std::vector<std::pair<std::string, Tensor>> inputs = {};  ///< those with a gradient

  Operation(const Case& c, std::string of, Backend& on) : file(c), name(std::move(of)), backend(on) {
    std::istringstream words(c.metadata(name));
    words >> kind;
    for (std::int64_t number; words >> number;) numbers.push_back(number);
  }

  Tensor constant(const std::string& part) const { return file.tensor(name + "." + part, backend); }
  Tensor input(const std::string& part) {
    inputs.emplace_back(part, require_grad(constant(part)));
    return inputs.back().second;
  }
  void check(const std::string& part, const Tensor& actual) const {
    expect_close(file, name + "." + part, actual, kTolerance);
  }
};

Tensor conv(Operation& op) {
  const Tensor x = op.input("x"), w = op.input("w");
  return conv2d(x, w, Conv2d::same(op.numbers.at(0), op.numbers.at(1)));
}

/// The input gradient of a convolution; its weight's [O, kH, kW, I] is the file's [I, O, kH, kW].
Tensor conv_transpose(Operation& op) {
  const Tensor x = op.input("x"), w = op.input("w");
  const std::int64_t stride = op.numbers.at(0), pad = op.numbers.at(1);
  const auto side = [&](int d) { return (x.size(d) - 1) * stride + w.size(d) - 2 * pad; };
  return conv2d_input_grad(x, w, side(1), side(2), Conv2d::same(stride, pad));
}

Tensor normalise(Operation& op) {
  const Tensor x = op.input("x"), weight = op.input("weight"), bias = op.input("bias");
  const Tensor mean = op.constant("mean"), variance = op.constant("variance");
  BatchNorm layer({op.backend}, x.size(3));
  layer.set_training(true);
  for (const Entry& entry : layer.entries()) {
    if (entry.name == "running_mean") entry.value.assign(mean);
    if (entry.name == "running_var") entry.value.assign(variance);
  }
  layer(x);
  for (const Entry& entry : layer.entries()) {
    if (entry.name == "running_mean") op.check("new_mean", entry.value);
    if (entry.name == "running_var") op.check("new_variance", entry.value);
  }
  return batch_norm(x, weight, bias, {}).y;
}

Tensor pool(Operation& op) {
  const Tensor x = op.input("x");
  return max_pool2d(
      x, {.kernel = op.numbers.at(0), .stride = op.numbers.at(1), .ceil_mode = op.numbers.at(2) != 0});
}

Tensor filter(Operation& op) {
  const Tensor x = op.input("x");
  const std::int64_t up = op.numbers.at(0), down = op.numbers.at(1);
  const std::int64_t before = op.numbers.at(2), after = op.numbers.at(3);
  return upfirdn2d(x, op.constant("filter"), {up, up, down, down, before, after, before, after});
}

Tensor product(Operation& op) {
  const Tensor a = op.input("a"), b = op.input("b");
  return matmul(a, b, op.numbers.at(0) != 0, op.numbers.at(1) != 0);
}

Tensor run(Operation& op) {
  if (op.kind == "conv2d") return conv(op);
  if (op.kind == "conv_transpose2d") return conv_transpose(op);
  if (op.kind == "batch_norm") return normalise(op);
  if (op.kind == "max_pool2d") return pool(op);
  if (op.kind == "upfirdn2d") return filter(op);
  if (op.kind == "matmul") return product(op);
  fail("golden: no operation ", op.kind);
}

}  // namespace

void run_ops(const Case& c, Backend& backend) {
  std::istringstream names(c.metadata("cases"));
  int count = 0;
  for (std::string name; names >> name; ++count) {
    Operation op(c, name, backend);
    const Tensor y = run(op);
    op.check("y", y.detach());
    std::vector<Tensor> inputs;
    for (const auto& [part, input] : op.inputs) inputs.push_back(input);
    const std::vector<Tensor> gradients = grad({y}, inputs, {.output_gradients = {op.constant("g")}});
    for (std::size_t i = 0; i < inputs.size(); ++i) op.check("d" + op.inputs[i].first, gradients[i]);
  }
  EXPECT_GT(count, 0);
}

}  // namespace om::golden
