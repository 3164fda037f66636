// Numbers made from names (golden/hash_init.py), so that no file has to hold large weights or images.
#pragma once

#include "nn/module.h"

namespace om::golden {

/// Element i is splitmix64(fnv1a(name) + i), its top 24 bits scaled to [-1, 1).
std::vector<float> hash_uniform(const std::string& name, std::int64_t count);

/// A weight by its name, in the file's shape and order: uniform of variance 2 / fan_in; of one dimension:
/// uniform in [-0.1, 0.1).
std::vector<float> hash_weight(const std::string& name, const Shape& shape);

}  // namespace om::golden
