#include "nn/module.h"

#include <algorithm>

#include "autograd/grad.h"
#include "autograd/ops.h"

namespace om {

Shape FileLayout::to_file(const Shape& shape) const {
  if (order.empty()) return shape;
  Shape file;
  for (int i = 0; i < leading_ones; ++i) file.append(1);
  for (std::size_t i = 0; i < order.size(); ++i) file.append(0);
  for (std::size_t i = 0; i < order.size(); ++i) file[leading_ones + order[i]] = shape[static_cast<int>(i)];
  return file;
}

Shape FileLayout::from_file(const Shape& file) const {
  if (order.empty()) return file;
  if (file.rank() != leading_ones + static_cast<int>(order.size()))
    fail<InputError>("expects ", leading_ones + static_cast<int>(order.size()), " dimensions, got ", file);
  for (int i = 0; i < leading_ones; ++i)
    if (file[i] != 1) fail<InputError>("expects a leading dimension of 1, got ", file);
  Shape shape;
  for (const int i : order) shape.append(file[leading_ones + i]);
  return shape;
}

Tensor FileLayout::from_file(const Tensor& tensor) const {
  if (order.empty()) return tensor;
  const NoGrad no_grad;
  from_file(tensor.shape());
  Shape without_ones;
  for (int i = leading_ones; i < tensor.rank(); ++i) without_ones.append(tensor.size(i));
  return permute(reshape(tensor, without_ones), order);
}

Tensor FileLayout::to_file(const Tensor& tensor) const {
  if (order.empty()) return tensor;
  const NoGrad no_grad;
  std::vector<int> inverse(order.size());
  for (std::size_t i = 0; i < order.size(); ++i)
    inverse[static_cast<std::size_t>(order[i])] = static_cast<int>(i);
  return reshape(permute(tensor, inverse), to_file(tensor.shape()));
}

Tensor Module::parameter(std::string name, Tensor value, FileLayout layout) {
  own_.push_back({std::move(name), value, std::move(layout), Role::parameter});
  return value;
}

Tensor Module::buffer(std::string name, Tensor value, FileLayout layout) {
  own_.push_back({std::move(name), value, std::move(layout), Role::buffer});
  return value;
}

void Module::child(std::string name, Module& module) { children_.push_back({std::move(name), &module}); }

void Module::collect(const std::string& prefix, bool with_aliases, std::vector<const Module*>& seen,
                     std::vector<Entry>& out) const {
  if (!with_aliases && std::find(seen.begin(), seen.end(), this) != seen.end()) return;
  seen.push_back(this);
  for (const Entry& entry : own_) out.push_back({prefix + entry.name, entry.value, entry.layout, entry.role});
  for (const Child& child : children_)
    child.module->collect(prefix + child.name + ".", with_aliases, seen, out);
}

std::vector<Entry> Module::entries(bool with_aliases) const {
  std::vector<Entry> out;
  std::vector<const Module*> seen;
  collect("", with_aliases, seen, out);
  return out;
}

std::vector<Entry> Module::parameters() const {
  std::vector<Entry> all = entries();
  std::erase_if(all, [](const Entry& entry) { return entry.role != Role::parameter; });
  return all;
}

void Module::set_training(bool training) {
  training_ = training;
  for (const Child& child : children_) child.module->set_training(training);
}

Tensor Placement::full(const Shape& shape, double value) const {
  if (budget != nullptr) {
    double wanted = 1;  // the product may not fit an integer
    for (const std::int64_t size : shape) wanted *= static_cast<double>(size);
    if (wanted > static_cast<double>(*budget))
      fail<InputError>("the shapes of its weights do not fit one another");
    *budget -= shape.elements();
  }
  return Tensor::full(shape, value, dtype, backend);
}

void Module::set_trainable(bool trainable) {
  for (const Entry& entry : parameters()) {
    if (trainable) {
      require_grad(entry.value);
    } else {
      entry.value.set_node(nullptr);
    }
  }
}

}  // namespace om
