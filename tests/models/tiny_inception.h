// An Inception network of two channels a convolution: the published names, 12 features, small and fast.
#pragma once

#include "autograd/ops.h"
#include "autograd/random.h"
#include "models/inception.h"

namespace om::test {

inline FileShapes tiny_inception_shapes() {
  FileShapes shapes;
  const auto unit = [&](const std::string& name, std::int64_t in, std::int64_t h, std::int64_t w) {
    shapes[name + ".conv.weight"] = {2, in, h, w};
    for (const char* part : {"weight", "bias", "running_mean", "running_var"})
      shapes[name + ".bn." + part] = {2};
  };
  unit("Conv2d_1a_3x3", 3, 3, 3);
  for (const char* name : {"Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_4a_3x3"}) unit(name, 2, 3, 3);
  unit("Conv2d_3b_1x1", 2, 1, 1);
  for (const std::string m : {"Mixed_5b.", "Mixed_5c.", "Mixed_5d."}) {
    const std::int64_t in = m == "Mixed_5b." ? 2 : 8;
    for (const char* name : {"branch1x1", "branch5x5_1", "branch3x3dbl_1", "branch_pool"})
      unit(m + name, in, 1, 1);
    unit(m + "branch5x5_2", 2, 5, 5);
    unit(m + "branch3x3dbl_2", 2, 3, 3);
    unit(m + "branch3x3dbl_3", 2, 3, 3);
  }
  unit("Mixed_6a.branch3x3", 8, 3, 3);
  unit("Mixed_6a.branch3x3dbl_1", 8, 1, 1);
  unit("Mixed_6a.branch3x3dbl_2", 2, 3, 3);
  unit("Mixed_6a.branch3x3dbl_3", 2, 3, 3);
  for (const std::string m : {"Mixed_6b.", "Mixed_6c.", "Mixed_6d.", "Mixed_6e."}) {
    const std::int64_t in = m == "Mixed_6b." ? 12 : 8;
    for (const char* name : {"branch1x1", "branch7x7_1", "branch7x7dbl_1", "branch_pool"})
      unit(m + name, in, 1, 1);
    for (const char* name : {"branch7x7_2", "branch7x7dbl_3", "branch7x7dbl_5"}) unit(m + name, 2, 1, 7);
    for (const char* name : {"branch7x7_3", "branch7x7dbl_2", "branch7x7dbl_4"}) unit(m + name, 2, 7, 1);
  }
  unit("Mixed_7a.branch3x3_1", 8, 1, 1);
  unit("Mixed_7a.branch3x3_2", 2, 3, 3);
  unit("Mixed_7a.branch7x7x3_1", 8, 1, 1);
  unit("Mixed_7a.branch7x7x3_2", 2, 1, 7);
  unit("Mixed_7a.branch7x7x3_3", 2, 7, 1);
  unit("Mixed_7a.branch7x7x3_4", 2, 3, 3);
  for (const std::string m : {"Mixed_7b.", "Mixed_7c."}) {
    for (const char* name : {"branch1x1", "branch3x3_1", "branch3x3dbl_1", "branch_pool"})
      unit(m + name, 12, 1, 1);
    unit(m + "branch3x3dbl_2", 2, 3, 3);
    for (const char* name : {"branch3x3_2a", "branch3x3dbl_3a"}) unit(m + name, 2, 1, 3);
    for (const char* name : {"branch3x3_2b", "branch3x3dbl_3b"}) unit(m + name, 2, 3, 1);
  }
  return shapes;
}

/// With seeded weights, mostly positive, so that no relu shuts off what two channels carry.
inline std::unique_ptr<Inception> tiny_inception(Backend& backend, std::uint64_t seed = 1) {
  auto inception = std::make_unique<Inception>(tiny_inception_shapes(), Placement{backend});
  RandomSource random(seed, backend);
  for (const Entry& entry : inception->parameters()) {
    const Tensor noise = random.normal(entry.value.shape());
    if (entry.value.rank() == 4) {
      const double fan_in =
          static_cast<double>(entry.value.elements()) / static_cast<double>(entry.value.size(0));
      entry.value.assign((noise * 0.7 + 1) * (1.15 / fan_in));
    } else if (entry.name.ends_with(".bias")) {
      entry.value.assign(noise * 0.1 + 0.3);
    }
  }
  return inception;
}

}  // namespace om::test
