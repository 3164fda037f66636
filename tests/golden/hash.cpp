#include "tests/golden/hash.h"

#include <cmath>

namespace om::golden {

std::vector<float> hash_uniform(const std::string& name, std::int64_t count) {
  std::uint64_t seed = 0xcbf29ce484222325;
  for (const unsigned char c : name) seed = (seed ^ c) * 0x100000001b3;
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) {
    std::uint64_t x = seed + static_cast<std::uint64_t>(i) + 0x9E3779B97F4A7C15;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    x ^= x >> 31;
    values.push_back(static_cast<float>(static_cast<double>(x >> 40) / 8388608.0 - 1));
  }
  return values;
}

std::vector<float> hash_weight(const std::string& name, const Shape& shape) {
  double fan_in = 1;
  for (int i = 1; i < shape.rank(); ++i) fan_in *= static_cast<double>(shape[i]);
  const float scale = shape.rank() == 1 ? 0.1F : static_cast<float>(std::sqrt(6 / fan_in));
  std::vector<float> values = hash_uniform(name, shape.elements());
  for (float& value : values) value *= scale;
  return values;
}

}  // namespace om::golden
