#include "tests/conformance/comparison.h"

#include <cmath>

namespace om::conformance {

Guarded::Guarded() {
  Storage::take_guard_violations();
  Storage::set_guard(64);
}

Guarded::~Guarded() {
  Storage::set_guard(0);
  EXPECT_EQ(Storage::take_guard_violations(), 0) << "bytes outside of a tensor were written";
}

void expect_close(const std::string& what, const std::vector<double>& x, const std::vector<double>& reference,
                  double tolerance, bool nonfinite) {
  ASSERT_EQ(x.size(), reference.size()) << what;
  double scale = 0;
  for (const double value : reference)
    if (std::isfinite(value)) scale = std::max(scale, std::abs(value));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const bool finite = std::isfinite(reference[i]);
    const bool same =
        finite ? std::abs(x[i] - reference[i]) <= tolerance * scale
               : nonfinite && (x[i] == reference[i] || (std::isnan(x[i]) && std::isnan(reference[i])));
    if (same) continue;
    ADD_FAILURE() << what << ", element " << i << " of " << x.size() << ": " << x[i] << ", reference "
                  << reference[i] << ", allowed " << tolerance << " x " << scale;
    return;
  }
}

std::vector<std::byte> bytes_of(const Tensor& x) {
  return dispatch(x.dtype(), [&]<class T>(Type<T>) {
    const std::vector<T> host = x.to_host<T>();
    const auto bytes = std::as_bytes(std::span(host));
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  });
}

}  // namespace om::conformance
