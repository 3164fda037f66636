// gather and scatter_add.
#include <algorithm>
#include <limits>

#include "tensor/opencl/opencl_backend.h"

namespace om::opencl {

void OpenClBackend::gather(In x, In index, Out y) {
  const std::int64_t s = x.shape[1], m = y.shape[1], count = y.shape.elements();
  device_.run({"move", size_name(x.dtype), "gather"}, device_.line(count), x.data, index.data, y.data, s, m,
              count);
}

void OpenClBackend::scatter_add(In x, In index, Out y) {
  const std::int64_t n = x.shape[0], m = x.shape[1], s = y.shape[1];
  if (n == 0 || m == 0 || s == 0) return fill(y, 0);
  // Positions are ints, as atomics are: as many samples at a time as they can number.
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  if (m > kMost) fail("opencl: scatter_add: ", m, " elements a sample are more than 2^31 - 1");
  const std::int64_t samples = std::min(n, kMost / m), targets = samples * s;
  const Scratch counts(*this, targets * 4), starts(*this, targets * 4), filled(*this, targets * 4);
  const Scratch positions(*this, samples * m * 4), next(*this, 4);
  const char* type = type_name(x.dtype);
  const auto size = static_cast<std::int64_t>(size_of(x.dtype));
  for (std::int64_t first = 0; first < n; first += samples) {
    const std::int64_t now = std::min(samples, n - first), terms = now * m, sums = now * s;
    const auto* from = static_cast<const char*>(x.data) + first * m * size;
    const auto* to = static_cast<const char*>(index.data) + first * m * 4;
    auto* result = static_cast<char*>(y.data) + first * s * size;
    fill({counts.data(), DType::i32, {sums}}, 0);
    fill({next.data(), DType::i32, {1}}, 0);
    device_.run({"scatter", type, "count"}, device_.line(terms), to, counts.data(), s, m, terms);
    device_.run({"scatter", type, "reserve"}, device_.line(sums), counts.data(), starts.data(), filled.data(),
                next.data(), sums);
    device_.run({"scatter", type, "place"}, device_.line(terms), to, starts.data(), filled.data(),
                positions.data(), s, m, terms);
    device_.run({"scatter", type, "add_sorted"}, device_.line(sums), from, counts.data(), starts.data(),
                positions.data(), result, sums);
  }
}

}  // namespace om::opencl
