// autograd/recompute.h for layers: the parameters are those of the modules that run.
#pragma once

#include "autograd/recompute.h"
#include "nn/module.h"

namespace om {

/// function(inputs), which runs these modules, all their parameters. They must live until the gradient was
/// taken.
inline Tensor recompute(const std::vector<const Module*>& modules, const std::vector<Tensor>& inputs,
                        const std::function<Tensor(const std::vector<Tensor>&)>& function) {
  std::vector<Tensor> parameters;
  if (RecomputeScope::on())
    for (const Module* module : modules)
      for (const Entry& entry : module->parameters()) parameters.push_back(entry.value);
  return recompute(function, inputs, parameters);
}

}  // namespace om
