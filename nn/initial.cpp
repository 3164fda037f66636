#include "nn/initial.h"

#include <cmath>
#include <map>
#include <set>

#include "autograd/grad.h"
#include "autograd/ops.h"

namespace om {
namespace {

std::string parent_of(const std::string& name) {
  const auto dot = name.rfind('.');
  return dot == std::string::npos ? "" : name.substr(0, dot);
}

}  // namespace

void initialize(const Module& module, RandomSource& random) {
  const NoGrad no_grad;
  const std::vector<Entry> entries = module.entries();
  std::set<std::string> norms;
  std::map<std::string, double> bounds;  // per layer
  for (const Entry& entry : entries) {
    if (entry.name.ends_with("running_mean")) norms.insert(parent_of(entry.name));
    if (entry.name.ends_with("weight") && entry.value.rank() > 1) {
      const double fan_in =
          static_cast<double>(entry.value.elements()) / static_cast<double>(entry.value.size(0));
      bounds[parent_of(entry.name)] = 1 / std::sqrt(fan_in);
    }
  }
  for (const Entry& entry : entries) {
    const auto bound = bounds.find(parent_of(entry.name));
    if (entry.role != Role::parameter || norms.contains(parent_of(entry.name)) || bound == bounds.end())
      continue;
    const Tensor uniform = random.uniform(entry.value.shape(), entry.value.dtype());
    entry.value.assign(affine(uniform, 2 * bound->second, -bound->second));
  }
}

void randomize(const Module& module, RandomSource& random, double scale) {
  const NoGrad no_grad;
  for (const Entry& entry : module.parameters())
    entry.value.assign(random.normal(entry.value.shape(), entry.value.dtype()) * scale);
}

}  // namespace om
